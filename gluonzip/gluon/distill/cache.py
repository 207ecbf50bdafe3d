"""A teacher's answers on disk: memory-mapped, resumable, and tied to one teacher and data set.

A folder: ``cache.json`` (format, keys, shapes), ``done.json`` (rows that are complete) and one
``answers-K.npy`` for each array. Both JSON files are written beside and renamed, ``done.json`` only
after the rows have reached the disk, so a kill at any moment loses at most the last rows.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import CacheError, DataError

FORMAT = 1
_COMMIT_SECONDS = 1.0

Compute = Callable[[int, int], Sequence[np.ndarray]]
"""(first row, row behind the last) -> one array a kind of answer, each with those rows."""

Tell = Callable[[int], Any]
"""Hears how many rows were added."""


class AnswerCache:
    """Arrays of ``rows`` answers in ``folder``, for the ``keys`` of one teacher and data set.

    ``keys``: digests by what they are of (``{"teacher": ..., "data": ...}``). Raises CacheError for
    a folder that was made for other keys or rows, or that is damaged.
    """

    def __init__(self, folder: str | os.PathLike, keys: dict[str, str], rows: int) -> None:
        self.folder, self.keys, self.rows = Path(folder), dict(keys), rows
        self.arrays: list[np.ndarray] = []
        """Memory-mapped, read-only, each (rows, ...), once :meth:`fill` has run."""
        self._check_header(self._read("cache.json"))

    @property
    def done(self) -> int:
        """Rows that are complete."""
        return int((self._read("done.json") or {"rows": 0})["rows"])

    def fill(self, compute: Compute, batch_size: int, tell: Tell | None = None) -> int:
        """Compute the rows that are missing, and open the arrays; returns how many were computed.

        ``tell`` is called with the number of rows that each batch adds. Raises DataError for
        answers that are not finite, CacheError while another process fills the same folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            header = self._read("cache.json")
            self._check_header(header)  # another process may have begun meanwhile
            start = self.done
            if start < self.rows:
                self._fill(compute, batch_size, tell, start, header)
        self.arrays = self._open(self._read("cache.json"), "r")
        return self.rows - start

    def __getitem__(self, rows: Any) -> list[np.ndarray]:
        """The answers at ``rows`` (integers), one array a kind."""
        if not self.arrays:
            raise CacheError(f"{self.folder}: the cache has not been filled yet")
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= self.rows):
            raise CacheError(
                f"{self.folder}: rows {rows.min()} to {rows.max()} asked for; it has {self.rows}"
            )
        return [array[rows] for array in self.arrays]

    # ------------------------------------------------------------ filling
    def _fill(
        self, compute: Compute, size: int, tell: Any, start: int, header: dict | None
    ) -> None:
        arrays: list[np.ndarray] | None = None if header is None else self._open(header, "r+")
        committed = time.monotonic()
        for first in range(start, self.rows, size):
            last = min(first + size, self.rows)
            answers = [np.asarray(a) for a in compute(first, last)]
            if arrays is None:
                arrays = self._create(answers)
            self._check_answers(answers, arrays, first, last)
            for array, answer in zip(arrays, answers, strict=True):
                array[first:last] = answer
            if last == self.rows or time.monotonic() - committed > _COMMIT_SECONDS:
                self._commit(arrays, last)
                committed = time.monotonic()
            if tell is not None:
                tell(last - first)

    def _create(self, answers: Sequence[np.ndarray]) -> list[np.ndarray]:
        facts = [{"shape": list(a.shape[1:]), "dtype": a.dtype.str} for a in answers]
        for place, fact in enumerate(facts):
            np.lib.format.open_memmap(
                self._file(place), "w+", np.dtype(fact["dtype"]), (self.rows, *fact["shape"])
            ).flush()
        header = {"format": FORMAT, "keys": self.keys, "rows": self.rows, "arrays": facts}
        self._write("cache.json", header)
        return self._open(header, "r+")

    def _commit(self, arrays: Sequence[np.ndarray], rows: int) -> None:
        for array in arrays:
            array.flush()  # msync: on the disk before done.json says so
        self._write("done.json", {"rows": rows})

    def _check_answers(
        self, answers: Sequence[np.ndarray], arrays: Sequence[np.ndarray], first: int, last: int
    ) -> None:
        shapes = [a.shape for a in answers]
        if shapes != [(last - first, *array.shape[1:]) for array in arrays]:
            raise CacheError(
                f"{self.folder}: rows {first} to {last - 1} have answers of shapes {shapes}, which "
                "do not fit the cache's; all samples must give answers of one shape"
            )
        for answer in answers:
            bad = ~np.isfinite(answer.reshape(len(answer), -1)).all(axis=1)
            if bad.any():
                raise DataError(
                    f"the teacher's answer for sample {first + int(bad.argmax())} is not finite "
                    "(NaN or infinity)"
                )

    # ------------------------------------------------------------ files
    def _open(self, header: dict, mode: str) -> list[np.ndarray]:
        arrays = []
        for place, fact in enumerate(header["arrays"]):
            path = self._file(place)
            try:
                array = np.lib.format.open_memmap(path, mode)
            except (OSError, ValueError) as error:
                raise CacheError(f"{path} is damaged ({error}); delete {self.folder}") from None
            if array.shape != (self.rows, *fact["shape"]) or array.dtype.str != fact["dtype"]:
                raise CacheError(f"{path} is damaged (shape {array.shape}); delete {self.folder}")
            arrays.append(array)
        return arrays

    def _check_header(self, header: dict | None) -> None:
        if header is None:
            return
        path = self.folder / "cache.json"
        if header.get("format") != FORMAT:
            raise CacheError(f"{path}: format {header.get('format')!r} is not {FORMAT}")
        for what, key in self.keys.items():
            found = header.get("keys", {}).get(what)
            if found != key:
                raise CacheError(
                    f"{self.folder} was made with another {what} (key {str(found)[:12]}, here "
                    f"{key[:12]}); use another folder, or delete this one to compute it again"
                )
        if header.get("rows") != self.rows:
            raise CacheError(f"{path}: made for {header.get('rows')} samples, not {self.rows}")

    def _file(self, place: int) -> Path:
        return self.folder / f"answers-{place}.npy"

    def _read(self, name: str) -> dict | None:
        path = self.folder / name
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CacheError(f"{path} is damaged ({error}); delete {self.folder}") from None
        if not isinstance(value, dict):
            raise CacheError(f"{path} is damaged (not a mapping); delete {self.folder}")
        return value

    def _write(self, name: str, value: dict) -> None:
        temporary = self.folder / f"{name}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CacheError(f"{self.folder} is being filled by another process") from None
            yield
