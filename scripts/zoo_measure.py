"""One network of the zoo through every stage: what scripts/zoo_coverage.py runs in processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import zoo_build

FP32_BOUND = 1e-3
"""Largest difference from MXNet's output over the largest output."""
INT8_BOUND = 0.02
"""The same, of the int8 engine from the interpreter of its graph."""


def measure(name: str, note: Callable[[dict[str, Any]], None]) -> None:
    """Fill ``row`` stage by stage and hand it to ``note`` after each, so that whoever watches knows
    in which stage a network failed."""
    from gluonzip.errors import TraceError

    row: dict[str, Any] = {"name": name, "family": zoo_build.entry(name).family, "stage": "build"}
    note(row)
    try:
        _stages(name, row, note)
        row["status"] = "agrees" if row.pop("good") else "differs"
    except zoo_build.Download as reason:
        row |= {"status": "declined", "reason": f"GluonCV downloads {reason} whatever is asked"}
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
        if row["stage"] in ("build", "MXNet"):
            row |= {"status": "declined", "reason": f"GluonCV itself fails to build it: {text}"}
        elif isinstance(error, TraceError):
            row |= {"status": "declined", "reason": text}
        else:
            row |= {"status": "failed", "reason": f"{row['stage']}: {text}"}
    note(row)


def _stages(name: str, row: dict[str, Any], note: Callable[[dict[str, Any]], None]) -> None:
    import mxnet as mx

    from gluonzip.gluon import CompiledBlock, Quantizer
    from gluonzip.spec import PerChannel, WeightQuantization

    begin = time.perf_counter()

    def stage(named: str) -> None:
        row["stage"], row["seconds"] = named, round(time.perf_counter() - begin, 1)
        note(row)

    net, shapes, _ = zoo_build.build(name, small=True)
    inputs = [mx.nd.array(x) for x in images(shapes)]
    row["inputs"] = [list(shape) for shape in shapes]
    stage("MXNet")
    expected = flat(net(*inputs))
    stage("compile")
    dense = CompiledBlock(net, *shapes)
    got = flat(dense(*inputs))
    row["segments"] = [dict(Counter(operators(segment))) for segment in dense.partition]
    row["macs_share"] = engine_share(net, shapes, dense)
    stage("fp32")
    if name.endswith("_int8"):  # MXNet's own integers: what counts is the network in floats
        expected = in_floats(net, shapes, inputs)
    row["fp32_error"] = difference(got, expected)
    good = row["fp32_error"] <= FP32_BOUND
    if not good and dense.program is not None:
        # Suppression and sorting turn a last digit into another box: what they are given counts.
        row["fp32_error_of_segments"] = forced_difference(net, shapes, inputs, dense.program)
        good = row["fp32_error_of_segments"] <= FP32_BOUND
    elif not good:
        # A deep network of random weights makes much of a last digit, in MXNet as in the engine.
        row["fp32_noise"] = last_digit(net, inputs, expected)
        good = row["fp32_error"] <= 2 * row["fp32_noise"]
    stage("quantize")
    weights = WeightQuantization(granularity=PerChannel())
    int8 = CompiledBlock(net, *shapes, quantizer=Quantizer([(inputs,)], weights))
    quantized = flat(int8(*inputs))
    row["int8_cosine"] = cosine(quantized, expected)
    row["int8_layers"] = integer_share(int8)
    stage("int8")
    row["int8_error"] = simulated_difference(int8, inputs)
    held = row["int8_error"] <= INT8_BOUND
    if not held:
        # A code at a tie behind an operator in floats grows in a deep network of random weights.
        row["int8_error_of_operators"] = operators_difference(int8, inputs)
        held = row["int8_error_of_operators"] <= INT8_BOUND
    row["good"] = bool(good and held)
    row["seconds"] = round(time.perf_counter() - begin, 1)


def images(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(-1, 1, shape).astype(np.float32) for shape in shapes]


def flat(outputs: Any) -> list[np.ndarray]:
    if isinstance(outputs, (list, tuple)):
        return [array for item in outputs for array in flat(item)]
    return [] if outputs is None else [outputs.asnumpy()]


# ---------------------------------------------------------------- comparing
def difference(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest of |a - b| / max |b| over the outputs; infinite where shapes differ."""
    if [a.shape for a in got] != [b.shape for b in expected]:
        return float("inf")
    found = [0.0]
    for a, b in zip(got, expected, strict=True):
        if b.size:
            largest = float(np.abs(b).max()) or 1.0
            found.append(float(np.abs(a.astype(np.float64) - b).max()) / largest)
    return max(found) if np.isfinite(found).all() else float("inf")


def cosine(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The smallest cosine over the outputs that are not all zeros."""
    found = [1.0]
    for a, b in zip(got, expected, strict=True):
        a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        if norm > 0:
            found.append(float(a @ b) / norm)
    return min(found)


def last_digit(net: Any, inputs: list[Any], expected: list[np.ndarray], times: int = 3) -> float:
    """How far MXNet's own outputs move when its inputs change by one unit in the last place."""
    import mxnet as mx

    worst = 0.0
    for seed in range(times):
        random = np.random.default_rng(seed)
        arrays = [x.asnumpy() for x in inputs]
        near = [np.nextafter(x, random.choice(np.float32([-9, 9]), x.shape)) for x in arrays]
        worst = max(worst, difference(flat(net(*map(mx.nd.array, near))), expected))
    return worst


def forced_difference(net: Any, shapes: Any, inputs: list[Any], program: Any) -> float:
    """The engine's segments, each given what MXNet computes there, against what MXNet does next."""
    values = mxnet_tensors(net, shapes, inputs, program)
    worst = 0.0
    for segment, engine in program.engines:
        names = [i.name for i in segment.graph.inputs]
        if all(name in values for name in names):
            found = engine(*(values[name] for name in names))
            found = found if isinstance(found, tuple) else (found,)
            found = dict(zip(segment.graph.outputs, found, strict=True))
            for name in found.keys() & values.keys():
                worst = max(worst, difference([found[name]], [values[name]]))
    return worst


def in_floats(net: Any, shapes: Any, inputs: list[Any]) -> list[np.ndarray]:
    """What MXNet says to the symbol as it was before MXNet quantized it."""
    import mxnet as mx

    from gluonzip.gluon.tracing import trace_net

    traced = trace_net(net, *shapes)
    symbol = traced.symbol.select(traced.symbol.heads)
    given = dict(zip((i.name for i in traced.graph.inputs), inputs, strict=True))
    values = {**traced.values, **given}
    found = mx.nd.CachedOp(symbol)(*[values[name] for name in symbol.list_inputs()])
    return flat(found)


def mxnet_tensors(net: Any, shapes: Any, inputs: list[Any], program: Any) -> dict[str, np.ndarray]:
    """What MXNet has at the borders of the program's segments."""
    import mxnet as mx

    from gluonzip.gluon.tracing import trace_net

    traced = trace_net(net, *shapes)
    given = dict(zip((i.name for i in traced.graph.inputs), inputs, strict=True))
    borders = {n for s, _ in program.engines for n in s.graph.outputs}
    borders |= {i.name for s, _ in program.engines for i in s.graph.inputs}
    names = [name for name in borders if name in traced.entries and name not in given]
    symbol = traced.symbol.select([traced.entries[name] for name in names])
    values = {**traced.values, **given}
    with mx.autograd.pause(train_mode=False):
        found = mx.nd.CachedOp(symbol)(*[values[name] for name in symbol.list_inputs()])
    found = found if isinstance(found, list) else [found]
    made = {name: array.asnumpy() for name, array in zip(names, found, strict=True)}
    return {**made, **{name: array.asnumpy() for name, array in given.items()}}


def simulated_difference(block: Any, inputs: list[Any]) -> float:
    """The engine's segments against the interpreter of their graphs, on the same inputs."""
    from gluonzip.graph import interpret

    worst = [0.0]

    def watch(segment: Any, given: list[np.ndarray], made: list[np.ndarray]) -> None:
        worst.append(difference(made, interpret(segment.graph, list(given))))

    if block.program is not None:
        block.program(*inputs, watch=watch)
    else:
        arrays = [x.asnumpy() for x in inputs]
        found = block.engine(*arrays)
        watch(block.partition[0], arrays, list(found) if isinstance(found, tuple) else [found])
    return max(worst)


def operators_difference(block: Any, inputs: list[Any]) -> float:
    """Every operator of the engine against the interpreter, on what the engine gave it."""
    from gluonzip.graph.interpret import run_node
    from gluonzip.graph.reference import Value

    worst = [0.0]

    def watch(segment: Any, given: list[np.ndarray], engine: Any) -> None:
        graph = segment.graph
        names = [name for node in graph.nodes for name in node.outputs]
        taps = engine.taps(names, *given)
        values = {name: Value.of(constant) for name, constant in graph.constants.items()}
        values |= {i.name: Value(x) for i, x in zip(graph.inputs, given, strict=True)}
        for node in graph.nodes:
            for name, value in zip(node.outputs, run_node(node, values), strict=True):
                worst.append(difference([taps[name]], [value.data]))
                values[name] = replace(value, data=taps[name])

    if block.program is None:
        watch(block.partition[0], [x.asnumpy() for x in inputs], block.engine)
    else:
        engines = {id(segment): engine for segment, engine in block.program.engines}
        block.program(*inputs, watch=lambda s, given, _: watch(s, list(given), engines[id(s)]))
    return max(worst)


# ---------------------------------------------------------------- who computes what
def operators(segment: Any) -> Iterator[str]:
    """``operator: why`` of each node that the engine leaves to MXNet; nothing for its own."""
    from gluonzip.passes.partition import operator

    for node in segment.graph.nodes if segment.foreign is not None else ():
        if why := segment.foreign[node.name]:
            yield f"{operator(node)}: {why}"


def weighted(block: Any) -> Iterator[tuple[Any, Any]]:
    """(segment, node) of each layer with a weight."""
    for segment in block.partition:
        for node in segment.graph.nodes:
            if node.op in ("conv2d", "conv_transpose2d", "dense"):
                yield segment, node


def integer_share(block: Any) -> float:
    """Of the engine's weighted layers, how many have integer weights."""
    found = [
        (constant := segment.graph.constants.get(node.inputs[1])) is not None and constant.quantized
        for segment, node in weighted(block)
        if segment.in_engine
    ]
    return sum(found) / max(len(found), 1)


def engine_share(net: Any, shapes: Any, block: Any) -> float:
    """Of the network's multiply-accumulates, those of layers that the engine runs."""
    from gluonzip.gluon.tracing import trace_net

    macs = symbol_macs(trace_net(net, *shapes))
    elsewhere = {n.name for s in block.partition if not s.in_engine for n in s.graph.nodes}
    total = sum(macs.values())
    return 1 - sum(macs.get(name, 0) for name in elsewhere) / total if total else 1.0


def symbol_macs(traced: Any) -> dict[str, int]:
    """Node of the graph -> multiply-accumulates of the MXNet operator that it came from."""
    found = {}
    for node in traced.graph.nodes:
        entry = traced.entries.get(node.outputs[0])
        if entry is None:
            continue
        source = traced.symbol.nodes[entry[0]]
        if not any(w in source.operator for w in ("onvolution", "FullyConnected", "batch_dot")):
            continue
        out = traced.shapes.get(entry)
        shapes = [traced.shapes.get(e) for e in source.inputs]
        if out is None or None in shapes:
            continue
        sizes = [int(np.prod(shape)) for shape in shapes]
        if source.operator == "batch_dot":
            found[node.name] = int(np.sqrt(sizes[0] * sizes[1] * np.prod(out) / out[0]))
        elif source.operator == "Deconvolution":
            weight = sizes[1] // shapes[0][1]
            found[node.name] = sizes[0] * weight
        else:
            at = next(i for i, s in enumerate(shapes) if i and s and s[0] == _outputs(source))
            found[node.name] = int(np.prod(out)) * (sizes[at] // shapes[at][0])
    return found


def _outputs(source: Any) -> int:
    return int(source.attrs.get("num_filter") or source.attrs.get("num_hidden"))
