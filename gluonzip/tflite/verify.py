"""Does a TFLite file answer as the graph it came from?"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
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
    found = run_many([(path, graph, inputs)], python)
    return None if found is None else found[0]


def run_many(
    jobs: Sequence[tuple[Path, Graph, Mapping[str, np.ndarray]]], python: str | None = None
) -> list[list[np.ndarray]] | None:
    """As :func:`run_litert`, several files in one process."""
    python = python or os.environ.get(VARIABLE)
    if python is None and importlib.util.find_spec("ai_edge_litert") is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        arguments = []
        for number, (path, graph, inputs) in enumerate(jobs):
            source, target = f"{scratch}/{number}-inputs.npz", f"{scratch}/{number}-outputs.npz"
            arrays = {f"input{at}": _last(inputs[i.name]) for at, i in enumerate(graph.inputs)}
            np.savez(source, **arrays)
            arguments += [str(path), source, target]
        command = [python or sys.executable, str(RUNNER), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        missing = [
            path
            for path, target in zip(arguments[::3], arguments[2::3], strict=True)
            if not os.path.exists(target)
        ]
        if done.returncode or missing:
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise GluonzipError(f"LiteRT does not run {', '.join(missing[:1])}: {reason[0]}")
        return [
            _outputs(target, graph)
            for target, (_, graph, _) in zip(arguments[2::3], jobs, strict=True)
        ]


def _outputs(target: str, graph: Graph) -> list[np.ndarray]:
    with np.load(target) as found:
        return [_first(found[f"output{i}"]) for i in range(len(graph.outputs))]


def _last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def _first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
