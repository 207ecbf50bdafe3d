"""Weights of the networks of Deep Compression's tables, by layer: shape, density and bits.

Han, Mao and Dally 2016, https://arxiv.org/abs/1510.00149, tables 2 to 5: the share of weights that
is left after pruning, and the bits of a shared weight. The weights themselves are not the paper's:
they are drawn from a Laplace distribution of the width that random initialization has, pruned to
the paper's density by magnitude. Biases are zeros, as after initialization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Constant, Graph, Input, Node
from gluonzip.passes.share import entropy_constrained, kmeans

RATE = 3e-3
"""Of codebooks by rate: a relative squared error of about 0.2 %."""
SAMPLE = 40_000


@dataclass(frozen=True)
class Layer:
    """``density``: share of weights left, 0 to 1; ``bits`` of a shared weight."""

    name: str
    shape: tuple[int, ...]
    density: float
    bits: int


ALEXNET = [
    Layer("conv1", (96, 3, 11, 11), 0.84, 8),
    Layer("conv2", (256, 48, 5, 5), 0.38, 8),
    Layer("conv3", (384, 256, 3, 3), 0.35, 8),
    Layer("conv4", (384, 192, 3, 3), 0.37, 8),
    Layer("conv5", (256, 192, 3, 3), 0.37, 8),
    Layer("fc6", (4096, 9216), 0.09, 5),
    Layer("fc7", (4096, 4096), 0.09, 5),
    Layer("fc8", (1000, 4096), 0.25, 5),
]
_VGG = [(64, 3, 58), (64, 64, 22), (128, 64, 34), (128, 128, 36), (256, 128, 53), (256, 256, 24),
        (256, 256, 42), (512, 256, 32), (512, 512, 27), (512, 512, 34), (512, 512, 35),
        (512, 512, 29), (512, 512, 36)]  # fmt: skip
VGG16 = [
    *(Layer(f"conv{i}", (o, c, 3, 3), left / 100, 8) for i, (o, c, left) in enumerate(_VGG, 1)),
    Layer("fc6", (4096, 25088), 0.04, 5),
    Layer("fc7", (4096, 4096), 0.04, 5),
    Layer("fc8", (1000, 4096), 0.23, 5),
]
LENET_300_100 = [
    Layer("fc1", (300, 784), 0.08, 6),
    Layer("fc2", (100, 300), 0.09, 6),
    Layer("fc3", (10, 100), 0.26, 6),
]
LENET_5 = [
    Layer("conv1", (20, 1, 5, 5), 0.66, 8),
    Layer("conv2", (50, 20, 5, 5), 0.12, 8),
    Layer("fc1", (500, 800), 0.08, 5),
    Layer("fc2", (10, 500), 0.19, 5),
]
TABLES = {"LeNet-300-100": LENET_300_100, "LeNet-5": LENET_5, "AlexNet": ALEXNET, "VGG-16": VGG16}
PAPER = {"LeNet-300-100": 40.0, "LeNet-5": 39.0, "AlexNet": 35.0, "VGG-16": 49.0}
"""The paper's own compression rates."""


def shrunk(layers: list[Layer], share: int) -> list[Layer]:
    """The same layers with dense ones of a ``share``-th of the outputs: for quick runs."""
    return [
        Layer(x.name, (max(1, x.shape[0] // share), *x.shape[1:]), x.density, x.bits)
        for x in layers
    ]


def dense_weight(layer: Layer, seed: int) -> np.ndarray:
    """Laplace-distributed weights of He's width, float32."""
    random = np.random.default_rng([seed, len(layer.name), *layer.shape])
    width = np.sqrt(1 / np.prod(layer.shape[1:]))
    return random.laplace(scale=width, size=layer.shape).astype(np.float32)


def pruned(weight: np.ndarray, density: float) -> np.ndarray:
    """The largest ``density`` of the weights, the rest zero."""
    flat = np.abs(weight).ravel()
    gone = flat.size - round(density * flat.size)
    limit = np.partition(flat, gone)[gone] if gone else 0
    return np.where(np.abs(weight) >= limit, weight, 0).astype(np.float32)


def shared(weight: np.ndarray, bits: int) -> np.ndarray:
    """The non-zero weights in 2^bits values, by k-means from a linear start."""
    out = np.zeros_like(weight)
    kept = weight[weight != 0]
    book = kmeans(kept, 2**bits)
    out[weight != 0] = book.values[book.codes]
    return out


def shared_by_rate(weight: np.ndarray, bits: int, rate: float = RATE) -> np.ndarray:
    """The non-zero weights in at most 2^bits values, by entropy-constrained k-means.

    Values are fitted to a sample of the weights; each weight takes the one of least squared error
    plus ``rate`` times its bits, in units of the weights' mean square. No weight becomes zero.
    """
    out = np.zeros_like(weight)
    kept = weight[weight != 0]
    random = np.random.default_rng(0)
    sample = kept if kept.size <= SAMPLE else random.choice(kept, SAMPLE, replace=False)
    found = entropy_constrained(sample, 2**bits, rate)
    counts = np.bincount(found.codes[found.codes >= 0], minlength=found.values.size)
    price = -rate * np.log2(np.maximum(counts, 0.5) / sample.size) * np.mean(sample**2)
    codes = np.empty(kept.size, np.int64)
    for begin in range(0, kept.size, 2**15):
        part = slice(begin, begin + 2**15)
        codes[part] = ((kept[part, None] - found.values) ** 2 + price).argmin(axis=1)
    out[weight != 0] = found.values[codes]
    return out


def relative_error(weight: np.ndarray, coded: np.ndarray) -> float:
    """Squared error over squared weights."""
    return float(((weight - coded) ** 2).sum() / (weight**2).sum())


def graph(name: str, weights: dict[str, np.ndarray]) -> Graph:
    """Dense layers and convolutions side by side, each with a bias: something to pack."""
    inputs, outputs, nodes, constants = [], [], [], {}
    for stem, weight in weights.items():
        op = "dense" if weight.ndim == 2 else "conv2d"
        shape = (0, weight.shape[1]) if weight.ndim == 2 else (0, *weight.shape[1:])
        attrs = {}
        if stem == "conv2" and name == "AlexNet":
            shape, attrs = (0, 2 * weight.shape[1], 5, 5), {"groups": 2}
        elif stem in ("conv4", "conv5") and name == "AlexNet":
            shape, attrs = (0, 2 * weight.shape[1], 3, 3), {"groups": 2}
        inputs.append(Input(f"{stem}.x", shape))
        outputs.append(f"{stem}.y")
        names = [f"{stem}.x", f"{stem}.weight", f"{stem}.bias"]
        nodes.append(Node(op, stem, names, [f"{stem}.y"], attrs))
        constants[f"{stem}.weight"] = Constant(weight)
        constants[f"{stem}.bias"] = Constant(np.zeros(weight.shape[0], np.float32))
    return Graph(inputs, outputs, nodes, constants, name)


def stages(name: str, layers: list[Layer], seed: int = 0) -> Iterator[tuple[str, Graph]]:
    """The network dense, pruned, pruned and shared by k-means, and by rate."""
    dense = {layer.name: dense_weight(layer, seed) for layer in layers}
    yield "dense", graph(name, dense)
    small = {layer.name: pruned(dense[layer.name], layer.density) for layer in layers}
    yield "pruned", graph(name, small)
    book = {layer.name: shared(small[layer.name], layer.bits) for layer in layers}
    yield "shared", graph(name, book)
    book = {layer.name: shared_by_rate(small[layer.name], layer.bits) for layer in layers}
    worst = max(relative_error(small[key], book[key]) for key in book)
    made = graph(name, book)
    made.meta["relative_error"] = round(worst, 6)
    yield "by rate", made
