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
    yield equal batches. Yields pairs of NumPy arrays; the last batch may be smaller. With ``rows``
    it yields triples: the third array holds the images' indices (for cached lessons).

    ``shard=(rank, workers)``: of every epoch's order this worker takes each ``workers``-th image;
    all workers get equally many, so up to ``workers - 1`` images wait for another epoch.

    ``epoch`` counts the passes begun; setting it goes back or ahead.

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
        rows: bool = False,
        shard: tuple[int, int] = (0, 1),
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
        self.rows, self.shard = rows, shard
        if not 0 <= shard[0] < shard[1] <= len(images):
            raise DataError(f"shard {shard} of {len(images)} images: rank 0 to workers - 1")
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self._share() // self.batch_size)

    def _share(self) -> int:
        return len(self.images) // self.shard[1]

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1
        order = rng.permutation(len(self.images)) if self.shuffle else np.arange(len(self.images))
        if self.shard != (0, 1):
            order = order[self.shard[0] :: self.shard[1]][: self._share()]
            rng = np.random.default_rng([self.seed, self.epoch, self.shard[0]])
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            images = self.images[chosen]
            if self.augment is not None:
                images = self.augment(images, rng)
            yield (images, self.labels[chosen], *([chosen] if self.rows else []))


def pairs(data: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """One pass over ``data`` as pairs of ``mx.nd.NDArray``: inputs and labels.

    ``data`` may be :class:`Batches`, a Gluon ``DataLoader``, an ``mx.io`` iterator (it is reset
    first) or any iterable of ``(inputs, labels)`` in NumPy or MXNet arrays.

    Raises DataError when there is no batch at all, or a batch is not a pair.
    """
    for inputs, labels, _ in rows_of(data):
        yield inputs, labels


def rows_of(data: Iterable[Any]) -> Iterator[tuple[Any, Any, Any]]:
    """As :func:`pairs`, with the rows of the samples (NumPy integers) or None as a third."""
    if hasattr(data, "reset"):
        data.reset()
    count = 0
    for count, batch in enumerate(data, start=1):  # noqa: B007 (count is used after the loop)
        yield _triple(batch)
    if count == 0:
        raise DataError("the data set yielded no batch: it is empty, or an iterator already used")


def _triple(batch: Any) -> tuple[Any, Any, Any]:
    if hasattr(batch, "data") and hasattr(batch, "label"):  # mx.io.DataBatch
        batch = (batch.data[0], batch.label[0])
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise DataError(
            "a batch must be a pair (inputs, labels), or a triple (inputs, labels, rows), got "
            f"{type(batch).__name__}"
        )
    rows = batch[2] if len(batch) == 3 else None
    return _array(batch[0]), _array(batch[1]), _integers(rows)


def _integers(rows: Any) -> Any:
    rows = rows.asnumpy() if hasattr(rows, "asnumpy") else rows
    return None if rows is None else np.asarray(rows).astype(np.int64)


def _array(values: Any) -> Any:
    import mxnet as mx

    if isinstance(values, mx.nd.NDArray):
        # A DataLoader's workers yield cpu_shared arrays, which a hybridized network rejects.
        return values.as_in_context(mx.cpu())
    return mx.nd.array(values, dtype=np.float32)
