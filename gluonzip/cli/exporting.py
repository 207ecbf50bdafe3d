"""What ``gluonzip export`` does for each target; every function yields lines for the user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.graph import Graph, interpret
from gluonzip.graph.agreement import compare, random_inputs

SUFFIX = {"onnx": ".onnx", "tflite": ".tflite", "mxnet": ""}
Samples = dict[str, np.ndarray]


def samples(graph: Graph, source: Path | None) -> Samples | None:
    """Arrays for the graph's inputs from a file; None without one."""
    if source is None:
        return None
    from gluonzip.cli.arrays import load_inputs
    from gluonzip.graph.interpret import bind

    return bind(graph, load_inputs(source, [i.name for i in graph.inputs]))


def _first(arrays: Samples, count: int = 64) -> Samples:
    return {name: array[:count] for name, array in arrays.items()}


def _inputs_to_compare(random: Samples, given: Samples | None) -> Iterator[tuple[str, Samples]]:
    """What an export is run on: random inputs, and the first rows of those that were given."""
    yield "random inputs", random
    if given:
        yield "given inputs", _first(given)


def _ranges(graph: Graph, samples: Samples | None) -> dict[str, float] | None:
    """How large sums get on the samples; None without any."""
    from gluonzip.passes import optimize
    from gluonzip.passes.quantize import sum_ranges

    return sum_ranges(optimize(graph), [_first(samples)]) if samples else None


def _refuse(storage: dict[str, bool], target: str) -> None:
    wrong = [f"--{name}" for name, wanted in storage.items() if wanted]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)} is for ONNX, not for {target}")


def to_onnx(
    graph: Graph, path: Path, samples: Samples | None, verify: bool, storage: dict[str, bool]
) -> Iterator[str]:
    from gluonzip import onnx

    ranges = _ranges(graph, samples)
    written = onnx.write(path, graph, onnx.Storage(**storage), ranges)
    yield f"Written {', '.join(map(str, written.files))}: {written.nbytes:,} bytes"
    if written.notes.dense_zeros:
        yield (
            f"{written.notes.dense_zeros:,} bytes of it are pruned weights stored as zeros; "
            "--sparse leaves them out"
        )
    if not verify:
        return
    for what, arrays in _inputs_to_compare(random_inputs(graph), samples):
        found = onnx.verify(path, graph, arrays)
        yield from (f"{what}: {agreement}" for agreement in found)
        if not found:
            yield "Not verified: neither onnxruntime nor openvino is installed"
            return


def to_tflite(
    graph: Graph, path: Path, samples: Samples | None, verify: bool, storage: dict[str, bool]
) -> Iterator[str]:
    from gluonzip import tflite

    _refuse(storage, "TFLite")
    tflite.write(path, graph, _ranges(graph, samples))
    yield f"Written {path}: {path.stat().st_size:,} bytes"
    if not verify:
        return
    for what, arrays in _inputs_to_compare(random_inputs(graph, batch=1), samples):
        agreement = tflite.verify(path, graph, arrays)
        if agreement is None:
            yield "Not verified: ai-edge-litert is not installed (see docs/conversion.md)"
            return
        yield f"{what}: {agreement}"


def to_mxnet(
    graph: Graph, path: Path, samples: Samples | None, verify: bool, storage: dict[str, bool]
) -> Iterator[str]:
    from gluonzip.gluon import export, run_symbol

    _refuse(storage, "MXNet")
    files = export(graph, path)
    yield f"Written {', '.join(map(str, files))}: {sum(f.stat().st_size for f in files):,} bytes"
    if not verify:
        return
    for what, arrays in _inputs_to_compare(random_inputs(graph), samples):
        got = run_symbol(*files, arrays)
        yield f"{what}: {compare('mxnet', interpret(graph, arrays), got)}"


TARGETS = {"onnx": to_onnx, "tflite": to_tflite, "mxnet": to_mxnet}
