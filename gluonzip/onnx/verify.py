"""Does an exported model answer as the graph it came from?"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gluonzip.errors import GluonzipError
from gluonzip.graph import Graph, interpret
from gluonzip.graph.agreement import Agreement, compare
from gluonzip.onnx.package import onnx

Arrays = Mapping[str, np.ndarray]


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
    import onnxruntime as ort

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
