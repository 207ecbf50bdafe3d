"""What a long measurement has found so far, in a JSON file that is whole at any moment."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.graph import Graph


def fingerprint(graph: Graph, settings: Any) -> str:
    """Of the network, its weights and the settings: what a checkpoint belongs to."""
    digest = hashlib.sha256(repr(settings).encode())
    for node in graph.nodes:
        digest.update(
            repr((node.op, node.inputs, node.outputs, sorted(node.attrs.items()))).encode()
        )
    for name, constant in sorted(graph.constants.items()):
        digest.update(name.encode() + np.ascontiguousarray(constant.dense()).tobytes())
    return digest.hexdigest()


def digest_of(*arrays: np.ndarray | None) -> str:
    """Of data, so that a measurement does not go on with other data than it began with."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """``state`` is JSON-able; ``save`` writes it, atomically. Without a path nothing is written.

    Raises ConfigError for a file that is no checkpoint, or that belongs to something else.
    """

    def __init__(self, path: str | os.PathLike | None, owner: str) -> None:
        self.path = None if path is None else Path(path)
        self.owner = owner
        self.state: dict[str, Any] = {}
        if self.path is not None and self.path.exists():
            self.state = self._load()

    def _load(self) -> dict[str, Any]:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            owner, state = document["owner"], document["state"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"checkpoint {str(self.path)!r} cannot be used ({type(error).__name__}: {error}); "
                "delete it to start anew"
            ) from None
        if owner != self.owner:
            raise ConfigError(
                f"checkpoint {str(self.path)!r} is of another network, other layers or other "
                "settings; delete it, or give another path"
            )
        return state

    def save(self) -> None:
        """ConfigError when the file cannot be written."""
        if self.path is None:
            return
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        try:
            temporary.write_text(json.dumps({"owner": self.owner, "state": self.state}) + "\n")
            os.replace(temporary, self.path)
        except OSError as error:
            raise ConfigError(
                f"checkpoint {str(self.path)!r} cannot be written: {error.strerror}"
            ) from None
