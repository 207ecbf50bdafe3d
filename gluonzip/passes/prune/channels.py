"""Channel ids: union-find over the channels of a network, with channels that must stay."""

from __future__ import annotations

import numpy as np

Ids = np.ndarray
"""One id (int64) for each index along an axis of a tensor."""

STATIC = 0
"""The id of indices that no channel stands behind (an image's colours, padding); always locked."""


class Channels:
    """Classes of channels. Channels of one class are removed together, or stay together.

    A locked class is never removed; the reason given first is kept.
    """

    def __init__(self) -> None:
        self._parent = np.zeros(1024, np.int64)
        self._count = 1
        self._reasons: dict[int, str] = {STATIC: "it has no channels of its own"}

    def fresh(self, count: int) -> Ids:
        """Ids of ``count`` channels that are each in a class of their own."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._parent):
            self._parent = np.resize(self._parent, max(self._count, 2 * len(self._parent)))
        ids = np.arange(first, self._count, dtype=np.int64)
        self._parent[ids] = ids
        return ids

    def roots(self, ids: Ids) -> Ids:
        """The class of each id."""
        roots = self._parent[ids]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[ids] = roots
        return roots

    def union(self, a: Ids, b: Ids) -> None:
        """Merge the classes of ``a`` and ``b`` (broadcast against each other), pair by pair."""
        a, b = np.broadcast_arrays(self.roots(a), self.roots(b))
        differ = a != b
        if not differ.any():
            return
        for x, y in np.unique(np.stack([a[differ], b[differ]], 1), axis=0):
            self._merge(self._root(x), self._root(y))

    def lock(self, ids: Ids, reason: str) -> None:
        """The classes of ``ids`` stay, because of ``reason``."""
        for root in np.unique(self.roots(ids)).tolist():
            self._reasons.setdefault(root, reason)

    def locked(self, ids: Ids) -> np.ndarray:
        """For each id, whether its class is locked."""
        return np.isin(self.roots(ids), list(self._reasons))

    def reason(self, id_: int) -> str | None:
        """Why the class of ``id_`` is locked; None if it is not."""
        return self._reasons.get(self._root(id_))

    def _root(self, id_: int) -> int:
        while self._parent[id_] != id_:
            id_ = self._parent[id_]
        return int(id_)

    def _merge(self, a: int, b: int) -> None:
        if a == b:
            return
        a, b = min(a, b), max(a, b)
        self._parent[b] = a
        if b in self._reasons:
            self._reasons.setdefault(a, self._reasons.pop(b))
