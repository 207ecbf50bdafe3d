"""One network on one engine, timed on request: the worker process behind bench_peers.py.

Each side lives in a process of its own, so that no engine's threads spin beside another's calls and
each may have its own environment. It prints a JSON line when it is ready, then for each number n on
its standard input a JSON list of the milliseconds of n calls, and for "save PATH" its output.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDES: dict[str, Callable[..., Callable[[np.ndarray], np.ndarray]]] = {}


def side(function):
    SIDES[function.__name__] = function
    return function


# ---------------------------------------------------------------- the network, the same everywhere
def zoo_name(network: str) -> str:
    """``resnet50_v1`` of ``resnet50_v1@blocks-75``, which is that network with 75 % zeros."""
    return network.partition("@")[0]


def image_size(network: str) -> int:
    return 299 if zoo_name(network) == "inceptionv3" else 224


def inputs(network: str, batch: int, seed: int = 7) -> np.ndarray:
    size = image_size(network)
    return np.random.RandomState(seed).uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)


def build(network: str):
    """The zoo's network with seeded random weights and settled batch-norm statistics."""
    import mxnet as mx
    from mxnet.gluon.model_zoo import vision

    mx.random.seed(1)
    np.random.seed(1)
    net = vision.get_model(network, pretrained=False)
    net.initialize(mx.init.Xavier(magnitude=2))
    with mx.autograd.train_mode():  # running statistics that keep activations in a sane range
        for step in range(2):
            net(mx.nd.array(inputs(network, 4, seed=step)))
    return net


def parameters(network: str, folder: Path):
    """A cached parameter file, so that every side has the same weights."""
    path = folder / f"{network}.params"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}")
        made = build_pruned(network, folder) if "@" in network else build(network)
        made.save_parameters(str(temporary))
        temporary.replace(path)
    from mxnet.gluon.model_zoo import vision

    net = vision.get_model(zoo_name(network), pretrained=False)
    net.load_parameters(str(path))
    return net


def zero_smallest(weight: np.ndarray, sparsity: float, block: int) -> np.ndarray:
    """The weight (O, I, ...) without its smallest groups of ``block`` input channels."""
    groups = weight.reshape(weight.shape[0], weight.shape[1] // block, block, *weight.shape[2:])
    size = np.abs(groups.astype(np.float32)).sum(axis=2, keepdims=True)
    order = np.argsort(size, axis=None, kind="stable")
    keep = np.ones(size.size, bool)
    keep[order[: round(sparsity * size.size)]] = False
    return (groups * keep.reshape(size.shape)).reshape(weight.shape).astype(weight.dtype)


def build_pruned(network: str, folder: Path):
    """Zeros in every layer but the first and depthwise ones, and statistics that fit them.

    Accuracy is not measured here: the smallest weights are zeroed and nothing is trained.
    """
    import mxnet as mx

    name, _, form = network.partition("@")
    pattern, _, percent = form.partition("-")
    block = {"blocks": 4, "unstructured": 1}[pattern]
    net = parameters(name, folder)
    for parameter in net.collect_params(".*weight").values():
        weight = parameter.data().asnumpy()
        if weight.ndim in (2, 4) and weight.shape[1] >= 16 and weight.shape[1] % block == 0:
            parameter.set_data(mx.nd.array(zero_smallest(weight, int(percent) / 100, block)))

    def forget(child) -> None:  # or else random weights without their zeros run out of range
        if isinstance(child, mx.gluon.nn.BatchNorm):
            child._kwargs["momentum"] = 0.0

    net.apply(forget)
    with mx.autograd.train_mode():
        net(mx.nd.array(inputs(name, 4, seed=0))).wait_to_read()
    return net


# ---------------------------------------------------------------- MXNet
@side
def mxnet_fp32(network: str, batch: int, threads: int, folder: Path):
    import mxnet as mx

    net = parameters(network, folder)
    net.hybridize(static_alloc=True, static_shape=True)
    return lambda x: net(mx.nd.array(x)).asnumpy()


@side
def mxnet_int8(network: str, batch: int, threads: int, folder: Path):
    import mxnet as mx
    from mxnet.contrib.quantization import quantize_net_v2

    net = parameters(network, folder)
    calibration = mx.io.NDArrayIter(mx.nd.array(inputs(network, 8)), batch_size=batch)
    quantized = quantize_net_v2(
        net,
        quantized_dtype="auto",
        calib_data=calibration,
        calib_mode="naive",
        num_calib_examples=8,
        ctx=mx.cpu(),
    )
    quantized.hybridize(static_alloc=True, static_shape=True)
    return lambda x: quantized(mx.nd.array(x)).asnumpy()


# ---------------------------------------------------------------- ONNX, for the two runtimes
def onnx_file(network: str, folder: Path) -> Path:
    """fp32 ONNX of a network of the zoo, kept in ``folder``."""
    path = folder / f"{network}.onnx"
    if not path.exists():
        size = image_size(network)
        export_onnx(parameters(network, folder), (3, size, size), path)
    return path


def export_onnx(net, shape: tuple[int, ...], path: Path) -> None:
    """By mx.onnx, which lists initializers as inputs, which stops folding: take them out."""
    import mxnet as mx
    import onnx

    net.hybridize()
    net(mx.nd.zeros((1, *shape)))
    with tempfile.TemporaryDirectory() as scratch:
        net.export(f"{scratch}/net")
        mx.onnx.export_model(
            f"{scratch}/net-symbol.json",
            f"{scratch}/net-0000.params",
            in_shapes=[(1, *shape)],
            in_types=np.float32,
            onnx_file_path=f"{scratch}/net.onnx",
            dynamic=True,
            dynamic_input_shapes=[("batch", *shape)],
        )
        model = onnx.load(f"{scratch}/net.onnx")
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for opset in model.opset_import:
        opset.version = 13  # what mx.onnx's translations are written for
    model.ir_version = 8  # older runtimes read no newer one
    onnx.save(model, str(path))


def onnx_int8_file(network: str, folder: Path) -> Path:
    """ONNX Runtime's own static quantization: QDQ, per channel, batch norm folded first."""
    path = folder / f"{network}-int8.onnx"
    if path.exists():
        return path
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / f"{network}-prepared.onnx"
    quant_pre_process(str(onnx_file(network, folder)), str(prepared), skip_symbolic_shape=True)
    data = [inputs(network, 1, seed) for seed in range(8)]
    unsigned = QuantType.QUInt8
    quantize_onnx(prepared, path, data, activation_type=unsigned, per_channel=True)
    return path


def quantize_onnx(source: Path, path: Path, data: list[np.ndarray], **options: Any) -> None:
    """ONNX Runtime's static quantization of the input ``data``: QDQ, int8 weights."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = list(reversed(data))

        def get_next(self):
            return {"data": self.left.pop()} if self.left else None

    quantize_static(
        str(source),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        weight_type=QuantType.QInt8,
        reduce_range=False,
        **options,
    )


def onnxruntime_session(path: Path, threads: int):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


@side
def onnxruntime_fp32(network: str, batch: int, threads: int, folder: Path):
    return onnxruntime_session(onnx_file(network, folder), threads)


@side
def onnxruntime_int8(network: str, batch: int, threads: int, folder: Path):
    return onnxruntime_session(onnx_int8_file(network, folder), threads)


def openvino_request(path: Path, batch: int, threads: int, network: str):
    import openvino as ov

    core = ov.Core()
    size = image_size(network)
    model = core.read_model(str(path))
    model.reshape([batch, 3, size, size])
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    return lambda x: request.infer({0: x}, share_inputs=True)[0]


@side
def openvino_fp32(network: str, batch: int, threads: int, folder: Path):
    return openvino_request(onnx_file(network, folder), batch, threads, network)


@side
def openvino_int8(network: str, batch: int, threads: int, folder: Path):
    return openvino_request(onnx_int8_file(network, folder), batch, threads, network)


# ---------------------------------------------------------------- gluonzip
def gluonzip_file(network: str, folder: Path, int8: bool) -> Path:
    path = folder / f"{network}-{'int8' if int8 else 'fp32'}.glz"
    if path.exists():
        return path
    from gluonzip import archive, passes
    from gluonzip.gluon import trace
    from gluonzip.spec import PerChannel, WeightQuantization

    size = image_size(network)
    graph = trace(parameters(network, folder), (1, 3, size, size))
    if int8:
        graph = passes.quantize_graph(
            graph,
            [inputs(network, 1, seed) for seed in range(8)],
            weights=WeightQuantization(granularity=PerChannel()),
        )
    else:
        graph = passes.optimize(graph)
    archive.write(path, graph)
    return path


def gluonzip_engine(path: Path, threads: int):
    from gluonzip.runtime import Engine

    return Engine.load(path, threads=threads)


@side
def gluonzip_fp32(network: str, batch: int, threads: int, folder: Path):
    return gluonzip_engine(gluonzip_file(network, folder, int8=False), threads)


@side
def gluonzip_int8(network: str, batch: int, threads: int, folder: Path):
    return gluonzip_engine(gluonzip_file(network, folder, int8=True), threads)


# ---------------------------------------------------------------- DeepSparse
@side
def deepsparse_fp32(network: str, batch: int, threads: int, folder: Path):
    """fp32: its sparse int8 does not take ONNX Runtime's QDQ files."""
    path = onnx_file(network, folder)
    os.environ["NM_DISABLE_ANALYTICS"] = "1"
    from deepsparse import Engine

    engine = Engine(str(path), batch_size=batch, num_cores=threads)
    return lambda x: engine.run([x])[0]


# ---------------------------------------------------------------- the same networks with zeros
def pruned_side(name: str, form: str):
    def run(network: str, batch: int, threads: int, folder: Path):
        return SIDES[name](f"{network}@{form}", batch, threads, folder)

    return run


for _name in ("gluonzip_int8", "gluonzip_fp32", "deepsparse_fp32"):
    for _pattern in ("blocks", "unstructured"):
        for _percent in (50, 75, 90):
            SIDES[f"{_name}_{_pattern}_{_percent}"] = pruned_side(_name, f"{_pattern}-{_percent}")


# ---------------------------------------------------------------- the worker
def timed(run: Callable[[np.ndarray], np.ndarray], x: np.ndarray, calls: int) -> list[float]:
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        run(x)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("side", choices=SIDES)
    options.add_argument("network")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--folder", type=Path, required=True, help="where built models are kept")
    options.add_argument("--prepare", action="store_true", help="build the model's files and stop")
    chosen = options.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever an engine prints is not an answer

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    x = inputs(chosen.network, chosen.batch)
    try:
        start = time.perf_counter()
        run = SIDES[chosen.side](chosen.network, chosen.batch, chosen.threads, chosen.folder)
        first = np.asarray(run(x))
        seconds = time.perf_counter() - start
    except Exception as error:  # the benchmark goes on without this side, and says so
        answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"})
        return
    if chosen.prepare:
        answer("prepared")
        return
    timed(run, x, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    finite = bool(np.isfinite(first).all())
    answer({"ready": seconds, "peak_mb": peak / 1024, "finite": finite})
    for line in sys.stdin:
        word, _, path = line.strip().partition(" ")
        if word == "save":
            np.save(path, np.asarray(run(x)))
            answer("saved")
        else:
            answer(timed(run, x, int(word)))


if __name__ == "__main__":
    main()
