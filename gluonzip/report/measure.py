"""Facts from a network, its archive and the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from gluonzip.archive import ArchiveInfo
from gluonzip.graph import Graph
from gluonzip.report.facts import (
    Agreement,
    ArchiveBytes,
    Histogram,
    Latency,
    LayerFacts,
    Section,
)
from gluonzip.report.latency import Call, alternate

Records = Mapping[str, Mapping[str, Any]]
"""By method (``prune``, ``quantize``): ``gluonzip.gluon.LayerRecord`` by layer name."""


# ---------------------------------------------------------------- layers
def layer_facts(
    net: Any, graph: Graph, info: ArchiveInfo, records: Records
) -> tuple[LayerFacts, ...]:
    """Every block of ``net`` with parameters of its own, in the order of the network.

    ``net``: as compressed (masks and quantizers on it); ``graph`` and ``info``: made from it. A
    tensor of the archive counts for the layer it is named after or, where a pass made it, for the
    layer of the node that reads it.
    """
    from gluonzip.gluon import layers, sparsity
    from gluonzip.gluon.structure import walk

    weighted, zeros = layers(net), sparsity(net)
    blocks = {path or b.name: b for path, b in walk(net) if _own_parameters(b)}
    owners = _owners(graph, blocks)
    facts, counted = [], set()
    for name, block in blocks.items():
        own = _own_parameters(block)
        layer = weighted.get(name)
        sections = [s for s in info.sections if owners.get(s.name) == name]
        # Shared parameters count once, for the first layer that has them.
        parameters = sum(p.data().size for p in own.values() if p.name not in counted)
        counted.update(p.name for p in own.values())
        if layer is None:
            facts.append(_unweighted(name, block, parameters, sections))
            continue
        done = [records[m][name] for m in records if name in records[m]]
        quantized = next((r.facts for r in done if "weight_bits" in r.facts), {})
        weights = [s for s in sections if s.name.endswith("weight")]
        facts.append(
            LayerFacts(
                name=name,
                kind=layer.kind,
                shape=tuple(next(iter(layer.weights.values())).shape),
                parameters=parameters,
                sparsity=zeros[name],
                weight_bits=quantized.get("weight_bits", 32),
                activation_bits=quantized.get("activation_bits", 32),
                dense_bytes=4 * parameters,
                archive_bytes=sum(s.bytes for s in sections),
                encoding=", ".join(dict.fromkeys(s.encoding for s in weights)) or "-",
                compressed=any(r.compressed for r in done),
                reason=_reason(name, records),
                unsigned=getattr(block, "unsigned_input", False),
            )
        )
    return tuple(facts)


def _own_parameters(block: Any) -> dict[str, Any]:
    """The layer's parameters without what compression added (masks, codebooks, input scale)."""
    added = block._added() if hasattr(block, "_added") else set()
    return {k: p for k, p in block._reg_params.items() if k not in added}


def _owners(graph: Graph, layers: Collection[str]) -> dict[str, str]:
    """Constant -> name of the layer that it belongs to."""
    owners = {}
    for constant in graph.constants:
        stem = constant.rpartition(".")[0]
        if stem in layers:
            owners[constant] = stem
    for node in graph.nodes:
        known = [owners[i] for i in node.present_inputs() if i in owners]
        if not known and node.name in layers:  # a layer whose parameters are named otherwise
            known = [node.name]
        for name in node.present_inputs():
            if name in graph.constants and name not in owners and known:
                owners[name] = known[0]
    return owners


def _unweighted(name: str, block: Any, parameters: int, sections: list[Any]) -> LayerFacts:
    """A block without a weight, such as a batch norm: never compressed, perhaps folded away."""
    size = sum(s.bytes for s in sections)
    reason = "no weights; kept in float32" if size else "no weights; folded into a neighbour"
    shape = tuple(next(iter(_own_parameters(block).values())).shape)
    kind = type(block).__name__
    return LayerFacts(
        name, kind, shape, parameters, 0.0, 32, 32, 4 * parameters, size, "-", False, reason, False
    )


VERBS = {"prune": "pruned", "quantize": "quantized", "store": "stored in two bytes"}


def _reason(name: str, records: Records) -> str:
    """What was not done to the layer, and why: ``not pruned: not selected``."""
    if not records:
        return "no stage compresses"
    reasons = []
    for method, done in records.items():
        record = done.get(name)
        why = "not selected" if record is None else record.reason
        if why:
            reasons.append(f"not {VERBS.get(method, method)}: {why}")
        elif "activations_skipped" in record.facts:
            reasons.append(f"activations not quantized: {record.facts['activations_skipped']}")
    return "; ".join(reasons)


# ---------------------------------------------------------------- archive
def archive_bytes(info: ArchiveInfo) -> ArchiveBytes:
    """Where every byte of an archive is."""
    sections = tuple(
        Section(s.name, s.dtype, tuple(s.shape), s.encoding, s.bits, s.sparsity, s.bytes)
        for s in info.sections
    )
    return ArchiveBytes(info.bytes, info.header, info.index, info.meta, sections)


# ---------------------------------------------------------------- engine
def agreement(simulated: np.ndarray, engine: np.ndarray) -> Agreement:
    """Class scores (N, classes) of both on the same samples."""
    same = int((simulated.argmax(axis=1) == engine.argmax(axis=1)).sum())
    return Agreement(len(simulated), same, float(np.abs(simulated - engine).max()))


def latencies(
    dense: Callable[..., Call],
    engine: Callable[..., object],
    sample: tuple[np.ndarray, ...],
    batches: tuple[int, ...] = (1, 64),
    rounds: int = 15,
) -> tuple[Latency, ...]:
    """Dense and engine in turns, on batches made of ``sample``, an array (N, ...) for each input,
    repeated as needed.

    ``dense`` makes a call for a batch, so that what is prepared once (its copy of the batch) is not
    timed; ``engine`` is called with the NumPy arrays.
    """
    facts = []
    for batch in batches:
        xs = [np.ascontiguousarray(np.resize(x, (batch, *x.shape[1:]))) for x in sample]
        (before, after), calls = alternate([dense(*xs), lambda xs=xs: engine(*xs)], rounds)
        facts.append(Latency(batch, before, after, calls))
    return tuple(facts)


# ---------------------------------------------------------------- weights
def histograms(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], bins: int = 61
) -> tuple[Histogram, ...]:
    """Weights by layer name before and after compression, in the order of ``after``."""
    facts = []
    for name, new in after.items():
        old = before[name]
        limit = float(max(np.abs(old).max(), np.abs(new).max(), 1e-12))
        edges = np.linspace(-limit, limit, bins + 1)
        counts = [np.histogram(w, edges)[0].tolist() for w in (old, new[new != 0])]
        zeros = int(new.size - np.count_nonzero(new))
        facts.append(Histogram(name, limit, tuple(counts[0]), tuple(counts[1]), zeros))
    return tuple(facts)


def effective_weights(net: Any) -> dict[str, np.ndarray]:
    """Weights as the layers use them (masked, rounded), by layer name, flat."""
    from gluonzip.gluon import layers

    found = {}
    for name, layer in layers(net).items():
        used = getattr(layer.block, "effective_weight", None)
        values = [(used(a) if used else layer.data(a)).asnumpy().ravel() for a in layer.weights]
        found[name] = np.concatenate(values)
    return found
