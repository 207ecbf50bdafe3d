"""Fake quantizers as operators of the extension library against compositions of built-in operators.

    OMP_NUM_THREADS=1 python scripts/bench_fake_quantize.py --check

Forward and backward, hybridized and imperative: a weight, an activation, and a step of training of
whole networks (4-bit weights by channel, 8-bit inputs), with scales that are measured and learned.
Figures are processor milliseconds, so that other work on the machine does not count, the least of
several repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import benchmark
import mxnet as mx
import numpy as np

from gluonzip.gluon import load_extension, quantize
from gluonzip.gluon.extension import operators
from gluonzip.gluon.layers import layers
from gluonzip.model_zoo import get_model
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

BATCH = 64
TARGET = 5.0


def measured(run: Callable[[], None], repeats: int) -> float:
    """Least processor milliseconds of a call."""
    for _ in range(2):
        run()
    times = []
    for _ in range(repeats):
        mx.nd.waitall()
        begin = time.process_time()
        run()
        mx.nd.waitall()
        times.append(1e3 * (time.process_time() - begin))
    return min(times)


def specs(scale: str) -> dict:
    weights = WeightQuantization(4, PerChannel(), scale="learned" if scale == "learned" else "peak")
    return {"weights": weights, "activations": ActivationQuantization(scale=scale)}


def layer_alone(side: str, scale: str, hybrid: bool) -> Callable[[], None]:
    """The quantizer of a 1024x1024 weight, or of a (64, 20, 24, 24) activation (LeNet's first)."""
    shape = (1024, 1024) if side == "weights" else (BATCH, 20, 24, 24)
    layer = mx.gluon.nn.Dense(shape[0] if side == "weights" else 1, in_units=1024, use_bias=False)
    layer.initialize(mx.init.Normal(0.05))
    x = mx.nd.random.normal(shape=shape)
    chosen = {**specs(scale), **{s: None for s in ("weights", "activations") if s != side}}
    quantize(layer, **chosen, data=None)
    if side == "activations":
        layer.input_scale.set_data(mx.nd.array([4 / 127]))
    block = _Quantizer(layer, side)
    if hybrid:
        block.hybridize(static_alloc=True)
    upstream = mx.nd.random.normal(shape=shape)
    x.attach_grad()

    def run() -> None:
        with mx.autograd.record():
            y = block(x)
        y.backward(upstream)

    return run


class _Quantizer(mx.gluon.HybridBlock):
    """What a compressed layer does before it computes."""

    def __init__(self, layer: mx.gluon.Block, side: str) -> None:
        super().__init__()
        self.layer, self.side = layer, side
        for name in layer._reg_params:
            if name != "weight":
                setattr(self, name, layer._reg_params[name])

    def hybrid_forward(self, F, x, **scales):
        if self.side == "activations":
            return self.layer._quantize_input(F, x, scales)
        return self.layer._transform(F, "weight", x, None, None, scales)


def whole_step(name: str, scale: str, batch: int) -> Callable[[], None]:
    """Forward and backward of a network of the zoo."""
    mx.random.seed(0)
    net = get_model(name)
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(np.random.default_rng(0).random((batch, 1, 28, 28)))
    net(x)
    quantize(net, **specs(scale), data=[x[:8]])
    assert layers(net)
    net.hybridize(static_alloc=True)

    def run() -> None:
        with mx.autograd.record():
            y = net(x)
        y.backward()

    return run


def cases(quick: bool) -> list[tuple[str, Callable[[], Callable[[], None]], bool]]:
    """Title, what makes the thing to run, whether it is a quantizer alone."""
    found = []
    for side in ("weights", "activations"):
        for scale in ("observed", "learned"):
            for hybrid in (True, False):
                title = f"{side}, {scale} scale, {'hybridized' if hybrid else 'imperative'}"
                found.append((title, lambda s=side, c=scale, h=hybrid: layer_alone(s, c, h), True))
    for name in ("lenet",) if quick else ("lenet", "resnet8_small", "resnet20_small"):
        for scale in ("observed", "learned"):
            title = f"a step of {name}, {scale} scales"
            batch = 16 if quick else BATCH
            found.append((title, lambda n=name, c=scale, b=batch: whole_step(n, c, b), False))
    return found


def main() -> None:
    chosen = benchmark.parser(__doc__).parse_args()
    load_extension(required=True)
    repeats = 3 if chosen.quick else 10
    rows, gains, checks = [], [], benchmark.Checks()
    print("| forward and backward | composition, ms | operator, ms | faster |")
    print("|---|---:|---:|---:|")
    for title, make, alone in cases(chosen.quick):
        ours = measured(make(), repeats)
        with operators.unused():
            theirs = measured(make(), repeats)
        rows.append({"case": title, "composition_ms": theirs, "operator_ms": ours})
        print(f"| {title} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f}x |", flush=True)
        if alone:
            gains.append(theirs / ours)
    mean = float(np.exp(np.mean(np.log(gains))))
    print(f"quantizers alone, geometric mean: {mean:.1f}x")
    checks.at_least("fake quantizers", "alone, times faster (geometric mean)", mean, TARGET)
    benchmark.finish(chosen, {"rows": rows}, checks)


if __name__ == "__main__":
    main()
