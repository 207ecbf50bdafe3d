"""Throughput: several calls under way at once, each on threads of its own."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gluonzip.errors import ConfigError

if TYPE_CHECKING:
    from gluonzip.runtime.engine import Engine

Inputs = np.ndarray | Sequence[np.ndarray]


def split_threads(threads: int, streams: int) -> list[int]:
    """``threads`` as evenly as possible; ConfigError unless each of ``streams`` gets at least one.

    >>> split_threads(5, 2)
    [3, 2]
    """
    if isinstance(streams, bool) or not isinstance(streams, int) or not 1 <= streams <= threads:
        raise ConfigError(
            f"streams = {streams!r} must be an integer from 1 to the {threads} thread(s) of the "
            "engine: more would take cores from each other"
        )
    return [threads // streams + (i < threads % streams) for i in range(streams)]


class Streams:
    """Copies of an engine that share its weights and divide its threads; made by
    :meth:`gluonzip.runtime.Engine.streams`.

    Calls from as many Python threads as there are streams run side by side; further ones wait for
    a stream to be free. Outputs are those of the engine, to the bit.
    """

    def __init__(self, engine: Engine, streams: int) -> None:
        self.engines = [engine.clone(n) for n in split_threads(engine.threads, streams)]
        self._idle: queue.LifoQueue[Engine] = queue.LifoQueue()
        for each in self.engines:
            self._idle.put(each)

    def __len__(self) -> int:
        return len(self.engines)

    @contextmanager
    def _stream(self) -> Iterator[Engine]:
        engine = self._idle.get()
        try:
            yield engine
        finally:
            self._idle.put(engine)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """As a call of the engine, on the first stream that is free."""
        with self._stream() as engine:
            return engine(*inputs)

    def map(self, inputs: Iterable[Inputs]) -> Iterator[Any]:
        """The outputs for each of ``inputs`` (an array, or a sequence of arrays), in their order.

        Takes from ``inputs`` no more than twice as many as there are streams ahead of what it has
        yielded. An exception of a call, or of ``inputs``, is raised in its turn.
        """
        waiting: deque[Future] = deque()
        with ThreadPoolExecutor(len(self.engines), thread_name_prefix="gluonzip") as pool:
            try:
                for item in inputs:
                    arrays = (item,) if isinstance(item, np.ndarray) else tuple(item)
                    waiting.append(pool.submit(self, *arrays))
                    if len(waiting) == 2 * len(self.engines):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def __repr__(self) -> str:
        threads = "+".join(str(engine.threads) for engine in self.engines)
        return f"<{len(self)} streams of {self.engines[0].name!r}: {threads} threads>"
