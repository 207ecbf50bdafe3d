"""Batches of images and labels: from two arrays, or from whatever iterable a user has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.training.augment import Augment


class Batches:
    """Batches of ``images`` (N, ...) float32 and ``labels`` (N,), any number of times over.

    Each pass is an epoch: with ``shuffle`` it has its own order, with ``augment`` its own
    distortions, both drawn from ``seed`` and the number of the pass, so that two equal objects
    yield equal batches. Yields pairs of NumPy arrays; the last batch may be smaller.

    Raises DataError when there are no images, a value is not finite, or the lengths differ.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int = 64,
        *,
        shuffle: bool = False,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        if len(images) != len(labels):
            raise DataError(f"{len(images)} images but {len(labels)} labels")
        if len(images) == 0:
            raise DataError("the data set is empty: give at least one image")
        if not np.isfinite(images).all():
            raise DataError("the images hold values that are not finite (NaN or infinity)")
        self.images = np.ascontiguousarray(images, dtype=np.float32)
        self.labels = np.asarray(labels)
        self.batch_size = batch_size
        self.shuffle, self.augment, self.seed = shuffle, augment, seed
        self._epoch = 0

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.seed, self._epoch])
        self._epoch += 1
        order = rng.permutation(len(self.images)) if self.shuffle else np.arange(len(self.images))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            images = self.images[chosen]
            if self.augment is not None:
                images = self.augment(images, rng)
            yield images, self.labels[chosen]


def pairs(data: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """One pass over ``data`` as pairs of ``mx.nd.NDArray``: inputs and labels.

    ``data`` may be :class:`Batches`, a Gluon ``DataLoader``, an ``mx.io`` iterator (it is reset
    first) or any iterable of ``(inputs, labels)`` in NumPy or MXNet arrays.

    Raises DataError when there is no batch at all, or a batch is not a pair.
    """
    if hasattr(data, "reset"):
        data.reset()
    count = 0
    for count, batch in enumerate(data, start=1):  # noqa: B007 (count is used after the loop)
        yield _pair(batch)
    if count == 0:
        raise DataError("the data set yielded no batch: it is empty, or an iterator already used")


def _pair(batch: Any) -> tuple[Any, Any]:
    if hasattr(batch, "data") and hasattr(batch, "label"):  # mx.io.DataBatch
        batch = (batch.data[0], batch.label[0])
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(f"a batch must be a pair (inputs, labels), got {type(batch).__name__}")
    return _array(batch[0]), _array(batch[1])


def _array(values: Any) -> Any:
    import mxnet as mx

    if isinstance(values, mx.nd.NDArray):
        # A DataLoader's workers yield cpu_shared arrays, which a hybridized network rejects.
        return values.as_in_context(mx.cpu())
    return mx.nd.array(values, dtype=np.float32)
