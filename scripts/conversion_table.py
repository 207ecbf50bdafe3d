"""Exports of the zoo's networks, run elsewhere and compared: ONNX in ONNX Runtime and OpenVINO,
TFLite in LiteRT, fp32 and int8.

    python scripts/conversion_table.py --check
    python scripts/conversion_table.py --networks resnet18_v1 --no-tflite --quick

Weights are random (batch norms settled), but for three networks that are first trained on the
digits, by their recipes. Figures: the largest difference over the largest output (fp32 against the
engine, int8 against the engine, too), the share of samples with the same top-1 as the engine, how
many layers run in integers, and the speed of int8 files next to ONNX Runtime's own quantization of
the same network. Of detectors the network part is exported: what opaque operators (box decoding,
suppression) read is an output. Needs ``pip install -e '.[peers,tflite,zoo]'``, and for LiteRT an
interpreter with ai-edge-litert: ``--litert /path/to/venv/bin/python``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import benchmark
import numpy as np

from gluonzip import onnx
from gluonzip.errors import GluonzipError
from gluonzip.graph import Graph
from gluonzip.graph.agreement import compare
from gluonzip.onnx.verify import run_onnxruntime, run_openvino
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.quantize import sum_ranges
from gluonzip.runtime import Engine
from gluonzip.spec import PerChannel, WeightQuantization


@dataclass(frozen=True)
class Network:
    """``name``: for gluonzip.model_zoo.get_model; ``recipe``: of a network trained on digits."""

    name: str
    size: int = 224
    recipe: str = ""
    classifier: bool = True
    options: tuple = ()


NETWORKS = [
    Network("lenet", 28, recipe="lenet"),
    Network("alexnet_small", 28, recipe="alexnet"),
    Network("resnet8_small", 28, recipe="resnet"),
    Network("alexnet"),
    Network("vgg16"),
    Network("resnet18_v1"),
    Network("resnet50_v1"),
    Network("resnet18_v2"),
    Network("resnet50_v2"),
    Network("mobilenet1.0"),
    Network("mobilenetv2_1.0"),
    Network("mobilenetv3_small"),
    Network("mobilenetv3_large"),
    Network("densenet121"),
    Network("inceptionv3", 299),
    Network("squeezenet1.1"),
    Network("se_resnext50_32x4d"),
    Network("fcn_resnet50_voc", 240, classifier=False),
    Network("simple_pose_resnet18_v1b", 192, classifier=False),
    Network("yolo3_mobilenet1.0_voc", 224, classifier=False),
    Network("ssd_512_mobilenet1.0_voc", 256, classifier=False),
]
CALIBRATION = 10
"""Seeds from here on give images for calibration, from the training set where there is one."""
QUICK = ("lenet", "resnet18_v1", "resnet18_v2", "mobilenetv2_1.0")


# ---------------------------------------------------------------- networks and data
def images(network: Network, count: int, seed: int = 0) -> np.ndarray:
    if network.recipe:
        from gluonzip.model_zoo.digits import load_digits

        digits = load_digits()
        chosen = digits.train_images if seed >= CALIBRATION else digits.test_images
        return np.ascontiguousarray(chosen[:count], np.float32)
    shape = (count, 3, network.size, network.size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def untrained(network: Network) -> Graph:
    """Traced, with seeded weights and batch norms that have seen a few images."""
    import mxnet as mx

    from gluonzip.gluon import trace
    from gluonzip.model_zoo.models import get_model

    mx.random.seed(1)
    np.random.seed(1)
    base = {} if network.classifier else {"pretrained_base": False}
    net = get_model(network.name, pretrained=False, **base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The symbol inside an SSD gives vectors to the initializer, which Xavier refuses.
        ssd = network.name.startswith("ssd")
        net.initialize(mx.init.Normal(0.05) if ssd else mx.init.Xavier(magnitude=2))
    x = mx.nd.array(images(network, 2, seed=3))
    net(x)
    for parameter in net.collect_params(".*(_var|gamma)$").values():
        parameter.set_data(mx.nd.ones(parameter.shape))
    try:
        with mx.autograd.train_mode():  # settles running statistics
            for _ in range(8 if net.collect_params(".*running_var").keys() else 1):
                net(x)
    except Exception:  # detectors want labels in training
        net(x)
    mx.nd.waitall()
    return without_opaque(trace(net, (1, *x.shape[1:])))


def without_opaque(graph: Graph) -> Graph:
    """``graph`` up to what opaque nodes, and nodes behind them, read."""
    behind: set[str] = set()
    frontier: list[str] = []
    for node in graph.nodes:
        if node.op == "opaque" or behind.intersection(node.inputs):
            behind.update(node.outputs)
            frontier += [name for name in node.present_inputs() if name not in behind]
    if not behind:
        return graph
    made = set(graph.producers()) - behind
    kept = [name for name in graph.outputs if name not in behind]
    graph = graph.copy()
    graph.outputs = list(dict.fromkeys([*kept, *(name for name in frontier if name in made)]))
    graph.nodes = [node for node in graph.nodes if not behind.intersection(node.outputs)]
    graph.meta["outputs"] = list(range(len(graph.outputs)))
    graph.meta["cut"] = sorted({n for n in frontier if n in made})[:20]
    graph.prune()
    return graph


def trained(network: Network, folder: Path, quick: bool) -> Graph:
    """A network of the model zoo, trained and compressed by its recipe."""
    from gluonzip import archive
    from gluonzip.model_zoo.runner import run
    from gluonzip.recipe import load
    from gluonzip.recipe import quick as shorten

    place = folder / f"{network.name}{'-quick' if quick else ''}"
    if not list(place.glob("*.glz")):
        recipe = load(network.recipe)
        run(shorten(recipe) if quick else recipe, place)
    return archive.read(next(place.glob("*.glz")))


def graphs(network: Network, options) -> tuple[Graph, Graph]:
    """(fp32, int8)."""
    if network.recipe:
        integer = trained(network, options.folder, options.quick or options.short)
        return untrained(network), integer
    traced = untrained(network)
    batches = [images(network, 2, seed) for seed in (10, 11)]
    weights = WeightQuantization(8, PerChannel())
    return traced, quantize_graph(traced, batches, weights, run=calibrating)


def calibrating(graph: Graph, batch, keep=()):
    """The interpreter's place in calibration, taken by the engine."""
    with_outputs = graph.copy()
    names = [name for name in keep if name not in {i.name for i in graph.inputs}]
    with_outputs.outputs = names or graph.outputs
    outputs = Engine.from_graph(with_outputs, raw=True)(batch)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    kept = dict(zip(names, outputs, strict=True)) if names else {}
    inputs = [i.name for i in graph.inputs]
    kept.update({name: batch for name in keep if name in inputs})
    return [], kept


# ---------------------------------------------------------------- one network
def ours(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    outputs = Engine.from_graph(optimize(graph), raw=True)(x)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def sizes_of_sums(network: Network, graph: Graph) -> dict[str, float]:
    batch = images(network, 64 if network.recipe else 2, CALIBRATION)
    return sum_ranges(optimize(graph), [batch], run=calibrating)


def figures(agreement) -> dict:
    return {
        "relative": agreement.relative,
        "top1": agreement.top1,
        "integer": agreement.integer,
        "floating": agreement.floating,
    }


def onnx_rows(network: Network, kind: str, graph: Graph, options, scratch: Path) -> dict:
    """What each runtime makes of the ONNX file."""
    x = images(network, samples(network, options), seed=1)
    path = scratch / f"{network.name}-{kind}.onnx"
    ranges = None
    if kind == "int8":
        ranges = sizes_of_sums(network, graph)
    written = onnx.write(path, graph, ranges=ranges)
    wanted = ours(graph, x)
    row = {"bytes": written.nbytes}
    for name, run in (("onnxruntime", run_onnxruntime), ("openvino", run_openvino)):
        try:
            got, counts = run(path, {graph.inputs[0].name: x}, benchmark.cores())
            row[name] = figures(compare(name, wanted, got, **counts))
        except (GluonzipError, ImportError) as error:
            row[name] = {"error": str(error)[:300]}
    return row


def samples(network: Network, options) -> int:
    if network.recipe:
        return 200 if options.quick else 1000
    return 2 if options.quick else 4


def own_quantization(fp32: Path, network: Network, scratch: Path) -> Path:
    """ONNX Runtime's own static quantization: QDQ, per channel, of our fp32 file."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [images(network, 1, seed) for seed in (10, 11)]

        def get_next(self):
            return {"data": self.left.pop()} if self.left else None

    prepared = scratch / f"{network.name}-prepared.onnx"
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    path = scratch / f"{network.name}-own.onnx"
    wanted = {"quant_format": QuantFormat.QDQ, "per_channel": True}
    wanted |= {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    try:
        quantize_static(str(prepared), str(path), Reader(), **wanted)
    except ValueError:  # it fails on batch norms by channel: they stay float32
        kinds = ["Conv", "Gemm", "MatMul", "Add", "Concat", "MaxPool", "AveragePool"]
        kinds += ["GlobalAveragePool", "Relu", "Clip", "Mul", "Flatten", "Reshape"]
        quantize_static(str(prepared), str(path), Reader(), **wanted, op_types_to_quantize=kinds)
    return path


def timer(path: Path, x: np.ndarray) -> Callable[[int], list[float]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def calls(count: int) -> list[float]:
        taken = []
        for _ in range(count + 1):
            start = time.thread_time()
            session.run(None, {name: x})
            taken.append((time.thread_time() - start) * 1e3)
        return taken[1:]

    return calls


def speed(network: Network, options, scratch: Path) -> dict:
    """Milliseconds a call of our int8 file and of ONNX Runtime's own: batch 1, one thread, its CPU
    time, which other programs on the machine disturb least."""
    own = own_quantization(scratch / f"{network.name}-fp32.onnx", network, scratch)
    x = images(network, 1)
    sides = {"own": timer(own, x), "gluonzip": timer(scratch / f"{network.name}-int8.onnx", x)}
    found = benchmark.alternate(sides, 3 if options.quick else 8, 4)
    return {**found, "ratio": found["own"] / found["gluonzip"]}


def tflite_rows(network: Network, kind: str, graph: Graph, options, scratch: Path) -> dict:
    from gluonzip import tflite

    path = scratch / f"{network.name}-{kind}.tflite"
    ranges = None
    if kind == "int8":
        ranges = sizes_of_sums(network, graph)
    tflite.write(path, graph, ranges)
    x = images(network, samples(network, options), seed=1)
    wanted = ours(graph, x)
    got = tflite.run_litert(path, graph, {graph.inputs[0].name: x}, python=options.litert)
    if got is None:
        return {"error": "ai-edge-litert is not installed"}
    return {"bytes": path.stat().st_size, "litert": figures(compare("litert", wanted, got))}


def measure(network: Network, options) -> dict:
    row: dict = {"network": network.name, "trained": bool(network.recipe)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        fp32, int8 = graphs(network, options)
        row["cut"] = len(fp32.meta.get("cut", []))
        row["transposed"] = sum(n.op == "conv_transpose2d" for n in fp32.nodes)
        for kind, graph in (("fp32", fp32), ("int8", int8)):
            row[kind] = onnx_rows(network, kind, graph, options, scratch)
            if options.tflite and network.classifier:
                row[f"tflite_{kind}"] = guarded(tflite_rows, network, kind, graph, options, scratch)
        if options.speed and network.classifier and not network.recipe:
            row["speed"] = guarded(speed, network, options, scratch)
    return row


def guarded(function, *arguments) -> dict:
    try:
        return function(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


# ---------------------------------------------------------------- the table
def cell(found: dict | None) -> str:
    if not found:
        return "-"
    if "error" in found:
        return "FAILED"
    text = f"{found['relative']:.1e} {found['top1']:.0%}"
    total = found["integer"] + found["floating"]
    return text + (f" {found['integer']}/{total}" if found["integer"] >= 0 and total else "")


COLUMNS = [
    ("fp32", "onnxruntime"), ("fp32", "openvino"), ("int8", "onnxruntime"), ("int8", "openvino"),
    ("tflite_fp32", "litert"), ("tflite_int8", "litert"),
]  # fmt: skip


def print_row(row: dict) -> None:
    cells = []
    for kind, runtime in COLUMNS:
        part = row.get(kind) or {}
        cells.append(cell(part if "error" in part else part.get(runtime)))
    ratio = row.get("speed", {}).get("ratio")
    print(f"{row['network']:26}" + "".join(f"{c:>21}" for c in cells), end="")
    print(f"{ratio:8.2f}" if ratio else f"{'-':>8}", flush=True)
    for kind in ("fp32", "int8", "tflite_fp32", "tflite_int8", "speed"):
        part = row.get(kind) or {}
        for name, found in (("", part), *part.items()):
            if isinstance(found, dict) and "error" in found:
                print(f"    {kind} {name}: {found['error']}", flush=True)


def check(rows: list[dict]) -> benchmark.Checks:
    checks = benchmark.Checks()
    for row in rows:
        name = row["network"]
        for kind, runtime in COLUMNS:
            part = row.get(kind)
            if part is None:
                continue
            found = part.get(runtime, {"error": "missing"})
            title = f"{name}, {kind} in {runtime}"
            if "error" in found or "error" in part:
                checks.at_least("convert", f"{title}, runs", 0, 1)
            elif kind.endswith("fp32"):
                checks.at_most("convert", f"{title}, relative error", found["relative"], 1e-4)
            elif row["trained"]:
                checks.at_least("convert", f"{title}, same top-1", found["top1"], 0.99)
            else:
                checks.at_most("convert", f"{title}, relative difference", found["relative"], 0.25)
            if runtime == "onnxruntime" and kind == "int8" and "floating" in found:
                what = f"{title}, layers not in integers (transposed convolutions have no kernel)"
                allowed = row["transposed"]
                checks.at_most("convert", what, found["floating"], allowed)
        if "ratio" in row.get("speed", {}):  # else ONNX Runtime's own tool failed: see the row
            ratio = row["speed"]["ratio"]
            checks.at_least("convert", f"{name}, own int8 / ours in ONNX Runtime", ratio, 0.95)
    return checks


def main() -> None:
    parser = benchmark.parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=[n.name for n in NETWORKS])
    parser.add_argument("--folder", type=Path, default=Path("runs/conversion"))
    parser.add_argument("--litert", default=os.environ.get("GLUONZIP_LITERT"), metavar="PYTHON")
    parser.add_argument("--no-tflite", dest="tflite", action="store_false")
    parser.add_argument("--no-speed", dest="speed", action="store_false")
    parser.add_argument("--short", action="store_true", help="trained networks: trial recipes")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = options.networks or (QUICK if options.quick else [n.name for n in NETWORKS])
    print("relative difference, same top-1, layers in integers; last: own int8 time / ours")
    print(f"{'network':26}" + "".join(f"{' '.join(c):>21}" for c in COLUMNS) + f"{'speed':>8}")
    rows = []
    for network in NETWORKS:
        if network.name in chosen:
            row = guarded(measure, network, options)
            row.setdefault("network", network.name)
            row.setdefault("trained", bool(network.recipe))
            if "error" in row:
                row["fp32"] = row["int8"] = {"error": row["error"]}
            rows.append(json.loads(json.dumps(row)))
            print_row(rows[-1])
    benchmark.finish(options, {"rows": rows}, check(rows))


if __name__ == "__main__":
    main()
