"""Does an exported model answer as the graph it came from?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gluonzip.errors import GluonzipError
from gluonzip.graph import Graph, interpret
from gluonzip.passes.quantize import bare_sums
from gluonzip.passes.quantize.separate import sums

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """How far a runtime's outputs are from the graph's.

    ``largest``: max |difference| over all outputs; ``relative``: the same over max |output|, the
    worst output; ``top1``: share of rows whose largest entry is at the same place, over the first
    output; ``integer``, ``floating``: convolutions and products that the runtime computes in
    integers, and those that it does not (-1: not known).
    """

    runtime: str
    largest: float
    relative: float
    top1: float
    integer: int = -1
    floating: int = -1

    def __str__(self) -> str:
        text = f"{self.runtime}: largest difference {self.largest:.3g} ({self.relative:.2g} of the "
        text += f"largest output), same top-1 on {self.top1:.1%}"
        if self.integer > 0:
            text += f", {self.integer} of {self.integer + self.floating} layers in integers"
        return text


def random_inputs(graph: Graph, batch: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal values of the traced shapes; an input that only an embedding reads gets indices."""
    rng = np.random.default_rng(seed)
    traced = graph.meta.get("input_shapes", [])
    made = {}
    for at, i in enumerate(graph.inputs):
        sizes = traced[at] if at < len(traced) and len(traced[at]) == len(i.shape) else i.shape
        shape = [n or sizes[axis] or 1 for axis, n in enumerate(i.shape)]
        if i.shape and i.shape[0] == 0:
            shape[0] = batch
        values = rng.standard_normal(shape)
        rows = _rows(graph, i.name)
        values = rng.integers(0, rows, shape) if rows else values
        made[i.name] = np.asarray(values, i.dtype)
    return made


def _rows(graph: Graph, name: str) -> int:
    tables = [n.inputs[1] for n in graph.nodes if n.op == "embedding" and n.inputs[0] == name]
    return min(
        (graph.constants[t].data.shape[0] for t in tables if t in graph.constants), default=0
    )


def sum_ranges(
    graph: Graph, batches: Sequence[Arrays], run: Callable = interpret
) -> dict[str, float]:
    """max |x| of the weighted sums of an int8 graph that have no scale of their own, over batches
    of inputs: what :func:`to_model` and the TFLite writer take as ``ranges``."""
    wanted = sums(graph)
    if not wanted:
        return {}
    bare = bare_sums(graph)
    names = {out: f"{out}_sum" for out in wanted}
    found = dict.fromkeys(wanted, 0.0)
    for batch in batches:
        kept = run(bare, batch, keep=tuple(names.values()))[1]
        for out, total in names.items():
            found[out] = max(found[out], float(np.abs(kept[total]).max(initial=0)))
    return found


def compare(
    runtime: str, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray], **counts
) -> Agreement:
    """The figures of :class:`Agreement` for two lists of outputs."""
    gaps = [
        float(np.abs(a.astype(np.float64) - b).max(initial=0))
        for a, b in zip(wanted, got, strict=True)
    ]
    sizes = [float(np.abs(a.astype(np.float64)).max(initial=0)) for a in wanted]
    relative = max(
        (gap / max(size, 1e-12) for gap, size in zip(gaps, sizes, strict=True)), default=0
    )
    first, second = (
        x[0].reshape(len(x[0]), -1) if x[0].ndim else x[0].reshape(1, 1) for x in (wanted, got)
    )
    top1 = float((first.argmax(axis=1) == second.argmax(axis=1)).mean())
    return Agreement(runtime, max(gaps, default=0.0), relative, top1, **counts)


def verify(path: Path, graph: Graph, inputs: Arrays) -> list[Agreement]:
    """The file at ``path`` against the interpreter on ``graph``, in every runtime that is
    installed (none: an empty list)."""
    wanted = interpret(graph, inputs)
    found = []
    for run in (run_onnxruntime, run_openvino):
        try:
            got, counts = run(path, inputs)
        except ImportError:
            continue
        name = run.__name__.removeprefix("run_")
        found.append(compare(name, wanted, got, **counts))
    return found


_INTEGER = (
    "QLinearConv",
    "QGemm",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
_FLOAT = (
    "Conv",
    "FusedConv",
    "Gemm",
    "FusedGemm",
    "MatMul",
    "FusedMatMul",
    "ConvTranspose",
    "NhwcFusedConv",
)


def run_onnxruntime(path: Path, inputs: Arrays, threads: int = 0) -> tuple[list[np.ndarray], dict]:
    """Outputs of ONNX Runtime, and how many layers of its optimised graph are integer ones."""
    import tempfile

    import onnxruntime as ort

    from gluonzip.onnx.package import onnx

    with tempfile.TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.optimized_model_filepath = f"{scratch}/optimised.onnx"
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "w"
        )
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            outputs = session.run(None, dict(inputs))
        except Exception as error:
            raise GluonzipError(f"ONNX Runtime does not run {path}: {error}") from error
        optimised = onnx.load(options.optimized_model_filepath, load_external_data=False)
    kinds = Counter(node.op_type for node in optimised.graph.node)
    integer = sum(kinds[kind] for kind in _INTEGER)
    return outputs, {"integer": integer, "floating": sum(kinds[kind] for kind in _FLOAT)}


def run_openvino(path: Path, inputs: Arrays, threads: int = 0) -> tuple[list[np.ndarray], dict]:
    """Outputs of OpenVINO (float32, not bfloat16), and how many layers run in integers."""
    import openvino as ov

    try:
        core = ov.Core()
        options = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        compiled = core.compile_model(core.read_model(str(path)), "CPU", options)
        results = compiled(dict(inputs))
        outputs = [np.asarray(results[port]) for port in compiled.outputs]
    except Exception as error:
        raise GluonzipError(f"OpenVINO does not run {path}: {error}") from error
    precisions = [
        info["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if (info := node.get_rt_info())["layerType"].astype(str)
        in ("Convolution", "FullyConnected", "MatMul", "Deconvolution")
    ]
    integer = sum(kind in ("u8", "i8") for kind in precisions)
    return outputs, {"integer": integer, "floating": len(precisions) - integer}
