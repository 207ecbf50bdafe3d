"""Post-training quantization by others: the worker process behind bench_quantization.py.

    python scripts/quantization_peers.py onnxruntime FOLDER [--quick]

FOLDER holds ``float.onnx``, ``data.npz`` (``calibration`` and ``test`` images), and for MXNet
``network.json`` and ``network.params``. Every variant of the side writes its answers on the test
images to ``SIDE-VARIANT.npy``; what fails is a line on standard error and in ``SIDE-failed.json``.
Each side runs in an environment of its own choice: it imports nothing of gluonzip but, for MXNet,
the definition of the network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from peers import quantize_onnx

Answers = Callable[[np.ndarray], np.ndarray]
Variants = Iterator[tuple[str, Callable[[], Answers]]]


def split(images: np.ndarray, rows: int) -> list[np.ndarray]:
    return [images[at : at + rows] for at in range(0, len(images), rows)]


# ---------------------------------------------------------------- ONNX Runtime
def onnxruntime(folder: Path, images: np.ndarray, quick: bool) -> Variants:
    """QDQ, pre-processed (batch norms folded), int8 weights, full range; all else is varied."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    quant_pre_process(str(folder / "float.onnx"), str(prepared), skip_symbolic_shape=True)
    methods = ["MinMax"] if quick else ["MinMax", "Entropy", "Percentile"]
    for method in methods:
        for activations in ("QUInt8", "QInt8"):
            for per_channel in (True, False):
                name = f"{method} {activations} {'channel' if per_channel else 'tensor'}"

                def quantize(name=name, per_channel=per_channel, given=(method, activations)):
                    return quantize_onnxruntime(
                        prepared,
                        folder / f"onnxruntime-{name.replace(' ', '-')}.onnx",
                        split(images, 64),  # batches of one size, or it fails
                        calibrate_method=getattr(CalibrationMethod, given[0]),
                        activation_type=getattr(QuantType, given[1]),
                        per_channel=per_channel,
                    )

                yield name, quantize


def quantize_onnxruntime(source: Path, path: Path, data: list[np.ndarray], **options) -> Answers:
    import onnxruntime as ort

    quantize_onnx(source, path, data, **options)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"data": x})[0]


# ---------------------------------------------------------------- OpenVINO NNCF
def nncf(folder: Path, images: np.ndarray, quick: bool) -> Variants:
    """``nncf.quantize`` as it comes; and with its slower, more accurate settings."""

    def quantize(**options) -> Answers:
        import openvino
        from nncf import Dataset, quantize

        model = openvino.Core().read_model(str(folder / "float.onnx"))
        made = quantize(model, Dataset([x[None] for x in images]), **options)
        compiled = openvino.compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda x: compiled(x)[0].copy()

    def accurate() -> Answers:
        from nncf import QuantizationPreset

        size = len(images)
        preset = QuantizationPreset.MIXED
        return quantize(preset=preset, subset_size=size, fast_bias_correction=False)

    yield "default", quantize
    if not quick:
        yield "mixed, accurate bias", accurate


# ---------------------------------------------------------------- MXNet
def mxnet(folder: Path, images: np.ndarray, quick: bool) -> Variants:
    """``quantize_net_v2`` with either way to find ranges."""

    def quantize(mode: str) -> Answers:
        import mxnet as mx
        from mxnet.contrib.quantization import quantize_net_v2

        net = load(folder)
        net.hybridize()
        made = quantize_net_v2(
            net,
            quantized_dtype="auto",
            calib_data=mx.io.NDArrayIter(mx.nd.array(images), batch_size=32),
            calib_mode=mode,
            num_calib_examples=len(images) // 32 * 32,
            ctx=mx.cpu(),
        )
        return lambda x: made(mx.nd.array(x)).asnumpy()

    yield "naive", lambda: quantize("naive")
    yield "entropy", lambda: quantize("entropy")


def load(folder: Path):
    from gluonzip.model_zoo import get_model

    net = get_model(json.loads((folder / "network.json").read_text())["name"])
    net.load_parameters(str(folder / "network.params"))
    return net


SIDES = {"onnxruntime": onnxruntime, "nncf": nncf, "mxnet": mxnet}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("side", choices=SIDES)
    options.add_argument("folder", type=Path)
    options.add_argument("--quick", action="store_true")
    chosen = options.parse_args()
    data = np.load(chosen.folder / "data.npz")
    failed = {}
    for name, quantize in SIDES[chosen.side](chosen.folder, data["calibration"], chosen.quick):
        try:
            answer = quantize()
            found = np.concatenate([np.asarray(answer(x)) for x in split(data["test"], 50)])
        except Exception as error:  # the benchmark goes on without this variant, and says so
            failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        np.save(chosen.folder / f"{chosen.side}-{name}.npy", found)
    (chosen.folder / f"{chosen.side}-failed.json").write_text(json.dumps(failed))


if __name__ == "__main__":
    main()
