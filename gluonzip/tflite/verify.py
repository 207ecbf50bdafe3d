"""Does a TFLite file answer as the graph it came from?"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gluonzip.errors import GluonzipError
from gluonzip.graph import Graph, interpret
from gluonzip.graph.agreement import Agreement, compare

RUNNER = Path(__file__).with_name("runner.py")
VARIABLE = "GLUONZIP_LITERT"
"""Names an interpreter whose environment has ai-edge-litert."""


def verify(path: Path, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Agreement | None:
    """The file at ``path`` in LiteRT against the interpreter on ``graph``; None where LiteRT is
    not installed."""
    got = run_litert(path, graph, inputs)
    return None if got is None else compare("litert", interpret(graph, inputs), got)


def run_litert(
    path: Path, graph: Graph, inputs: Mapping[str, np.ndarray], python: str | None = None
) -> list[np.ndarray] | None:
    """What LiteRT answers, sample by sample, in a process of its own; None where it is missing.

    ``inputs`` and outputs are in the graph's order of axes (channels first). ``python``: an
    interpreter with ai-edge-litert; default the environment variable GLUONZIP_LITERT, then this.
    """
    python = python or os.environ.get(VARIABLE)
    if python is None and importlib.util.find_spec("ai_edge_litert") is None:
        return None
    arrays = {f"input{at}": _last(inputs[i.name]) for at, i in enumerate(graph.inputs)}
    with tempfile.TemporaryDirectory() as scratch:
        source, target = f"{scratch}/inputs.npz", f"{scratch}/outputs.npz"
        np.savez(source, **arrays)
        command = [python or sys.executable, str(RUNNER), str(path), source, target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise GluonzipError(f"LiteRT does not run {path}: {reason[0]}")
        with np.load(target) as found:
            return [_first(found[f"output{i}"]) for i in range(len(graph.outputs))]


def _last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def _first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
