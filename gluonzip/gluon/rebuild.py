"""A graph as a trainable Gluon network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon import rebuild_ops
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer
from gluonzip.gluon.rebuild_layers import (
    KINDS,
    build_layer,
    layer_inputs,
    masked_weights,
    run_layer,
    unmasked,
)
from gluonzip.gluon.rebuild_ops import Call
from gluonzip.gluon.structure import Block, HybridBlock, Parameter
from gluonzip.gluon.wrapper import compress, set_mask
from gluonzip.graph import known_types
from gluonzip.graph.ir import Constant, Graph, Node
from gluonzip.graph.ops import OPS
from gluonzip.graph.validate import validate
from gluonzip.passes.quantize.dynamic import split_dynamic
from gluonzip.passes.storage import widen


class Holder(HybridBlock):
    """A level of the network's names; it may hold parameters that no layer owns."""

    def hybrid_forward(self, F: Any, x: Any, **params: Any) -> list[Any]:
        """Its parameters, in the order in which they were added. ``x`` says where to compute."""
        return [params[attribute] for attribute in self._reg_params if attribute in params]


@dataclass(eq=False)
class Held:
    """A holder and the constants it holds, in its order."""

    path: str
    holder: Holder
    names: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Step:
    """One node as it will be run. ``inputs``: tensor names; ``drop``: tensors not needed any more;
    ``layer``: for nodes that are layers."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    a: SimpleNamespace
    shapes: list[tuple[int, ...] | None]
    layer: Block | None = None
    drop: list[str] = field(default_factory=list)

    def run(self, F: Any, values: Mapping[str, Any]) -> list[Any]:
        call = Call(F, self.name, self.a, self.shapes)
        inputs = [values[name] if name else None for name in self.inputs]
        if self.layer is None:
            return rebuild_ops.run(call, self.op, inputs)
        x, residual = (*inputs, None)[:2]
        return run_layer(call, self.op, self.layer, x, residual)


class GraphBlock(HybridBlock):
    """``graph`` as a HybridBlock: trainable, hybridizable, exportable, wrappable like any other.

    Convolutions, dense layers, embeddings and normalizations are Gluon's own layers, at the paths
    of their nodes (node ``features.0`` is child ``0`` of child ``features``); every other node runs
    as MXNet operators, an opaque one under its own name. ``save_parameters`` uses the names of the
    graph's constants. Constants that several nodes share are one parameter. A weight times a mask
    (of :func:`gluonzip.gluon.prune`) is a pruned layer again. Tracing the block gives
    back an equal graph.

    Parameters of layers train; running means and all other constants (masks, anchors, scales) have
    ``grad_req`` "null". Quantized constants become their real values, and what is left of a lowered
    graph's integers is simulated in float32. In training a batch norm is a batch norm, and
    nodes in ``graph.meta["dropout"]`` drop out.

    ``prefix``: of the parameters' MXNet names (default: MXNet's counter). ``ctx``: where the
    parameters live. The outputs have the structure of ``graph.meta["outputs"]``.

    Raises GraphError for a malformed graph, UnsupportedError for an opaque operator that MXNet
    does not have.
    """

    def __init__(self, graph: Graph, prefix: str | None = None, ctx: Any = None) -> None:
        super().__init__(prefix=prefix)
        validate(graph)
        graph = widen(split_dynamic(graph))
        if not graph.inputs:
            raise ConfigError(f"graph {graph.name!r} has no inputs: there is nothing to call")
        self._inputs = [i.name for i in graph.inputs]
        self._results = list(graph.outputs)
        self._structure = graph.meta.get("outputs", _flat(len(graph.outputs)))
        self._constants = self._parameters(graph, ctx)
        self._name = graph.name
        self._held: list[Held] = []
        self._own: dict[str, str] = {}  # attribute -> constant that belongs to no level
        self._steps = self._plan(graph)

    # ------------------------------------------------------------ building
    def _parameters(self, graph: Graph, ctx: Any) -> dict[str, Parameter]:
        """Constant -> parameter, with its value."""
        trained = _trained(graph)
        parameters: dict[str, Parameter] = {}
        taken: set[str] = set()
        for name, constant in graph.constants.items():
            data = _real(constant)
            mx_name = self.prefix + name.replace(".", "_")
            while mx_name in taken:
                mx_name += "_"
            taken.add(mx_name)
            parameter = Parameter(
                mx_name,
                shape=data.shape,
                dtype=data.dtype,
                grad_req="write" if name in trained else "null",
                differentiable=name in trained,
            )
            parameter.initialize(init=mx.init.Zero(), ctx=ctx or mx.cpu())
            parameter.set_data(mx.nd.array(data, dtype=data.dtype))
            parameters[name] = parameter
        return parameters

    def _plan(self, graph: Graph) -> list[Step]:
        types = known_types(graph)
        dropout, casts = graph.meta.get("dropout", {}), graph.meta.get("cast", {})
        steps: list[Step] = []
        layers: dict[tuple, Block] = {}
        masked = masked_weights(graph)
        left = _read_by_others(graph, masked)
        for original in graph.nodes:
            node, mask = unmasked(original, masked)
            own = layer_inputs(node, graph.constants)
            if own is None:
                node, mask = original, ""
            shapes = [types[n].shape if n in types else None for n in node.inputs]
            a = OPS[node.op].fill(node.attrs, len(node.outputs))
            step = Step(node.op, node.name, list(node.inputs), list(node.outputs), a, shapes)
            if own is not None:
                step.layer = self._layer(node, own, mask, graph, layers)
                step.inputs = [node.inputs[0], *node.inputs[1 + len(own) :]]
            elif node.op == "identity" and node.outputs[0] in dropout:
                a.dropout = float(dropout[node.outputs[0]])
            elif node.op == "identity":
                a.cast = node.outputs[0] in casts
            elif node.op == "opaque":
                rebuild_ops.check_operator(node.name, a.operator, a.attrs)
            if node.outputs[0] not in masked or node.outputs[0] in left:
                steps.append(step)
        read = [name for step in steps for name in step.inputs] + self._results
        for name in dict.fromkeys(read):
            if name in self._constants:
                self._hold(name)
        _forget_early(steps, keep=set(self._results))
        return steps

    def _layer(
        self, node: Node, own: list[str], mask: str, graph: Graph, layers: dict[tuple, Block]
    ) -> Block:
        """The layer of a node; nodes with the same constants and attributes share one."""
        key = (node.op, tuple(own), mask, repr(sorted(node.attrs.items())))
        if key not in layers:
            prefix = f"{self.prefix}{node.name.replace('.', '_')}_"
            layer = build_layer(node, own, graph.constants, prefix)
            for attribute, name in zip(KINDS[node.op].attributes, own, strict=True):
                if name:
                    _adopt(layer, attribute, self._constants[name])
            if mask:
                block = compress(Layer(node.name, layer, {"weight": layer.weight}))
                set_mask(block, "weight", graph.constants[mask].data, self._constants[mask])
            layers[key] = layer
            self._place(node.name, layer)
        return layers[key]

    def _hold(self, name: str) -> None:
        """Put a constant that no layer owns under its own path."""
        path, _, attribute = name.rpartition(".")
        held = self._holder(path) if path else None
        block = held.holder if held else self
        if hasattr(block, attribute):
            attribute = f"constant_{len(block._reg_params)}"
        _adopt(block, attribute, self._constants[name])
        if held:
            held.names.append(name)
        else:
            self._own[attribute] = name

    def _holder(self, path: str) -> Held:
        for held in self._held:
            if held.path == path:
                return held
        block = self._level(path)
        if not isinstance(block, Holder):  # a layer is there
            return self._holder(f"{path}.constants")
        self._held.append(Held(path, block))
        return self._held[-1]

    def _level(self, path: str) -> Block:
        """The block at ``path``, made with all that is above it where missing."""
        block: Block = self
        for part in path.split(".") if path else []:
            if part not in block._children:
                block.register_child(Holder(prefix=f"{block.prefix}{part}_"), part)
            block = block._children[part]
        return block

    def _place(self, path: str, layer: Block) -> None:
        """Register ``layer`` at ``path``."""
        above, _, last = path.rpartition(".")
        block = self._level(above)
        if last in block._children:  # a level with children of its own
            for name, child in block._children[last]._children.items():
                layer.register_child(child, name)
        block.register_child(layer, last)

    # ------------------------------------------------------------ running
    def hybrid_forward(self, F: Any, x: Any, *others: Any, **params: Any) -> Any:
        given = [x, *others]
        if len(given) != len(self._inputs):
            raise ConfigError(f"{len(given)} inputs given; the network takes {self._inputs}")
        values = dict(zip(self._inputs, given, strict=True))
        values.update({name: params[attribute] for attribute, name in self._own.items()})
        # The graph's names, not names with this block's prefix in front; constants where x is.
        where = x.context if F is mx.nd else nullcontext()
        with mx.name.NameManager(), where:
            for held in self._held:
                values.update(zip(held.names, held.holder(x), strict=True))
            for step in self._steps:
                values.update(zip(step.outputs, step.run(F, values), strict=True))
                for name in step.drop:
                    values.pop(name, None)
        return _shaped(self._structure, [values[name] for name in self._results])

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        """As Gluon's, under the names of the graph's constants."""
        dot = f"{prefix}." if prefix else ""
        named = {id(p): dot + name for name, p in self._constants.items()}
        found = super()._collect_params_with_prefix(prefix)
        return {named.get(id(p), name): p for name, p in found.items()}

    def __repr__(self) -> str:
        lines = [f"  ({s.name}): {s.layer}" for s in self._steps if s.layer is not None]
        others = Counter(s.op for s in self._steps if s.layer is None)
        rest = ", ".join(f"{count} {op}" for op, count in others.items())
        return "\n".join(
            [f"{type(self).__name__}(", *lines, f"  and {rest or 'nothing else'}", ")"]
        )


def _flat(count: int) -> Any:
    return 0 if count == 1 else list(range(count))


def _shaped(structure: Any, results: list[Any]) -> Any:
    if isinstance(structure, list):
        return [_shaped(item, results) for item in structure]
    return None if structure is None else results[structure]


def _trained(graph: Graph) -> set[str]:
    """Constants that training changes: the parameters of layers, but not running statistics."""
    trained: set[str] = set()
    frozen: set[str] = set()
    masked = masked_weights(graph)
    for node in graph.nodes:
        own = layer_inputs(unmasked(node, masked)[0], graph.constants)
        if own is None:
            continue
        kind = KINDS[node.op]
        for attribute, name in zip(kind.attributes, own, strict=True):
            (frozen if attribute in kind.frozen else trained).add(name)
    return trained - frozen - {""}


def _read_by_others(graph: Graph, masked: Mapping[str, tuple[str, str]]) -> set[str]:
    """Tensors that something reads that is not a layer (which masks its weight by itself)."""
    read = set(graph.outputs)
    for node in graph.nodes:
        plain, _ = unmasked(node, masked)
        is_layer = layer_inputs(plain, graph.constants) is not None
        read.update(plain.inputs if is_layer else node.inputs)
    return read


def _real(constant: Constant) -> np.ndarray:
    data = constant.dense()
    if data.dtype == np.float64:
        data = data.astype(np.float32)
    return data.reshape(1) if data.ndim == 0 else data


def _adopt(layer: Block, attribute: str, parameter: Parameter) -> None:
    """Give a layer a parameter in place of the one it made."""
    layer._reg_params.pop(attribute, None)
    layer.__dict__.pop(attribute, None)
    setattr(layer, attribute, parameter)
    layer._params._params[parameter.name] = parameter


def _forget_early(steps: list[Step], keep: set[str]) -> None:
    """Note after which step each tensor is not needed any more."""
    seen = set(keep)
    for step in reversed(steps):
        for name in (*step.inputs, *step.outputs):
            if name and name not in seen:
                step.drop.append(name)
                seen.add(name)
