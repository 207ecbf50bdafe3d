"""Augmentation against SciPy's affine transform, and its invariants."""

import numpy as np
import pytest
from scipy import ndimage

from gluonzip.errors import ConfigError
from gluonzip.training import Augment
from gluonzip.training.augment import sample_bilinear


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 2, 9, 12), dtype=np.float32)


def test_no_distortion_changes_nothing(images):
    same = Augment(shift=0, rotate=0, zoom=0)(images, np.random.default_rng(1))
    np.testing.assert_allclose(same, images, atol=1e-6)


def test_sampling_equals_scipy(images):
    rng = np.random.default_rng(2)
    rows = rng.uniform(-3, 12, (5, 7, 8)).astype(np.float32)
    columns = rng.uniform(-3, 15, (5, 7, 8)).astype(np.float32)
    got = sample_bilinear(images, rows, columns)
    for n in range(5):
        for c in range(2):
            # A border of zeros makes SciPy fade out over one pixel as well.
            padded = np.pad(images[n, c], 1)
            want = ndimage.map_coordinates(
                padded, [rows[n] + 1, columns[n] + 1], order=1, mode="constant"
            )
            inside = (rows[n] > -1) & (rows[n] < 9) & (columns[n] > -1) & (columns[n] < 12)
            np.testing.assert_allclose(got[n, c], np.where(inside, want, 0), atol=2e-5)


def test_every_image_has_its_own_distortion_and_the_seed_decides(images):
    augment = Augment(shift=2, rotate=20, zoom=0.2)
    same = np.repeat(images[:1], 5, axis=0)
    first = augment(same, np.random.default_rng(3))
    again = augment(same, np.random.default_rng(3))
    np.testing.assert_array_equal(first, again)
    assert len({image.tobytes() for image in first}) == 5
    assert first.shape == same.shape
    assert first.dtype == np.float32


def test_shifts_are_small():
    dot = np.zeros((50, 1, 21, 21), np.float32)
    dot[:, 0, 10, 10] = 1
    moved = Augment(shift=2, rotate=0, zoom=0)(dot, np.random.default_rng(4))
    rows, columns = np.nonzero(moved.max(axis=(0, 1)))
    assert set(rows) <= set(range(8, 13))
    assert set(columns) <= set(range(8, 13))
    np.testing.assert_allclose(moved.sum(axis=(1, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize(("name", "value"), [("shift", -1), ("rotate", -1), ("zoom", 1)])
def test_bad_values_are_named(name, value):
    with pytest.raises(ConfigError, match=f"augment.{name} = {value}"):
        Augment(**{name: value})
