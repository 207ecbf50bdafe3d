"""From a Gluon network to a :class:`gluonzip.graph.ir.Graph`, with its parameters as constants."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError, ShapeError, TraceError
from gluonzip.gluon import tags
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.convert import CONVERTERS, MxNode, Unconvertible, frames
from gluonzip.gluon.structure import (
    Block,
    parameter_names,
    parameter_owners,
    require_legacy_arrays,
)
from gluonzip.gluon.symbol_graph import Entry, SymbolGraph, SymbolNode, reason
from gluonzip.gluon.symbolize import symbolize
from gluonzip.graph.ir import Constant, Graph, Input, Node

Shape = tuple[int, ...]


@dataclass
class Traced:
    """A graph, with the symbol it came from.

    ``entries``: which entry each tensor of the graph is. ``values``: of the symbol's parameters, as
    NDArrays. ``shapes``: of entries, for the traced input shapes.
    """

    graph: Graph
    symbol: SymbolGraph
    entries: dict[str, Entry]
    values: dict[str, Any]
    shapes: dict[Entry, Shape | None]


def trace(net: Block, *shapes: Shape, names: Sequence[str] | None = None) -> Graph:
    """The graph of ``net`` as it runs at inference.

    ``shapes``: one for each input, e.g. ``(1, 3, 224, 224)``; axis 0 is recorded as 0 (any batch),
    the others are nominal. ``names``: the inputs' names (default ``data``, or ``data0``, ``data1``
    ...). Constants are named structurally (``features.0.weight``), nodes with parameters by their
    layer (``features.0``), other nodes as in MXNet, without the prefix of ``net``. Masks and fake
    quantizers of compressed networks become ``mul`` and ``fake_quantize`` nodes. An operator
    without a row in the op table becomes an ``opaque`` node, and ``graph.meta["opaque"]`` says why
    by the node's name (what depends on nothing that could train is computed).
    ``graph.meta["outputs"]`` mirrors the structure of what the network returns: an index into the
    outputs, or a list of such structures; ``graph.meta["dropout"]`` has the rates of the
    ``identity`` nodes that are dropout in training, ``"cast"`` those that were casts to a floating
    type.

    Raises TraceError (not traceable: child, reason, remedy), ShapeError (shapes that the network
    does not accept), DataError (a parameter that is not initialized, or not finite).
    """
    return trace_net(net, *shapes, names=names).graph


def trace_net(net: Block, *shapes: Shape, names: Sequence[str] | None = None) -> Traced:
    """As :func:`trace`, keeping the link between tensors and the symbol's entries."""
    require_legacy_arrays("trace")
    if not isinstance(net, Block):
        raise TraceError(f"trace needs a gluon Block, got a {type(net).__name__}")
    shapes = _check_shapes(shapes)
    names = _input_names(len(shapes), names)
    symbol, structure = symbolize(net, names)
    needed = set(symbol.list_inputs())
    values = _parameter_values(net, needed - set(names), shapes)
    traced = _Tracer(
        SymbolGraph(symbol),
        inputs=dict(zip(names, shapes, strict=True)),
        values=values,
        structural=parameter_names(net),
        owners=parameter_owners(net),
        prefix=net.prefix,
        frozen=[p.name for p in net.collect_params().values() if p.grad_req == "null"],
    ).run()
    traced.graph.name = net.name or type(net).__name__.lower()
    traced.graph.meta.update(outputs=structure, network=type(net).__name__)
    return traced


def trace_symbol(
    symbol: Any, params: Mapping[str, Any], shapes: Mapping[str, Shape], name: str = "network"
) -> Graph:
    """The graph of an MXNet symbol.

    ``params``: NDArrays by variable name, arguments and auxiliary states alike (a prefix ``arg:``
    or ``aux:`` is dropped). ``shapes``: of the inputs by name. Constants keep the variables' names.
    Raises as :func:`trace`.
    """
    values = {key.removeprefix("arg:").removeprefix("aux:"): v for key, v in params.items()}
    shapes = dict(zip(shapes, _check_shapes(tuple(shapes.values())), strict=True))
    graph = SymbolGraph(symbol)
    owners = {key: key.rpartition("_")[0] or key for key in values}
    traced = _Tracer(graph, shapes, values, {key: key for key in values}, owners).run()
    traced.graph.name = name
    count = len(traced.graph.outputs)
    traced.graph.meta["outputs"] = 0 if count == 1 else list(range(count))
    return traced.graph


def _check_shapes(shapes: tuple[Any, ...]) -> tuple[Shape, ...]:
    if not shapes:
        raise ConfigError("trace needs the shape of each input, e.g. trace(net, (1, 3, 224, 224))")
    for shape in shapes:
        good = isinstance(shape, (tuple, list)) and all(
            isinstance(n, (int, np.integer)) and n > 0 for n in shape
        )
        if not good:
            raise ConfigError(f"an input shape must be a tuple of positive integers, got {shape!r}")
    return tuple(tuple(int(n) for n in shape) for shape in shapes)


def _input_names(count: int, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return ["data"] if count == 1 else [f"data{i}" for i in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise ConfigError(f"{count} input shapes need {count} different names, got {list(names)}")
    return list(names)


# ---------------------------------------------------------------- parameters
def _parameter_values(net: Block, needed: set[str], shapes: Sequence[Shape]) -> dict[str, Any]:
    """NDArrays of the parameters that the symbol reads, by MXNet name."""
    parameters = {p.name: p for p in net.collect_params().values() if p.name in needed}
    if any(p._data is None and p._deferred_init for p in parameters.values()):
        _dummy_forward(net, shapes)
    structural = parameter_names(net)
    values = {}
    for name, parameter in parameters.items():
        if parameter._data is None:
            raise DataError(
                f"parameter {structural.get(name, name)!r} is not initialized; call "
                "net.initialize() or net.load_parameters(...) before tracing"
            )
        values[name] = parameter.list_data()[0]
    return values


def _dummy_forward(net: Block, shapes: Sequence[Shape]) -> None:
    """Let parameters of deferred shape take theirs."""
    context = next((p.list_ctx()[0] for p in net.collect_params().values() if _placed(p)), mx.cpu())
    try:
        with mx.autograd.pause(train_mode=False):
            net(*[mx.nd.zeros(shape, ctx=context) for shape in shapes])
        mx.nd.waitall()
    except (mx.MXNetError, ValueError) as error:
        raise ShapeError(
            f"the network does not accept inputs of shapes {list(shapes)}: {reason(error)}"
        ) from error


def _placed(parameter: Any) -> bool:
    return parameter._data is not None or bool(parameter._deferred_init)


# ---------------------------------------------------------------- the walk over the symbol
class _Tracer:
    """Builds the graph; converters see it as their ``Emitter``."""

    def __init__(
        self,
        symbol: SymbolGraph,
        inputs: Mapping[str, Shape],
        values: Mapping[str, Any],
        structural: Mapping[str, str],
        owners: Mapping[str, str],
        prefix: str = "",
        frozen: Collection[str] = (),
    ) -> None:
        self.symbol = symbol
        self.prefix = prefix  # of the network: it counts instances, which the graph must not show
        self.values = dict(values)
        self.structural = structural
        self.owners = owners
        self.shapes = symbol.infer_shapes(
            {**{k: v.shape for k, v in self.values.items()}, **inputs}
        )
        self.dtypes = symbol.infer_dtypes(
            {**{k: v.dtype for k, v in self.values.items()}, **dict.fromkeys(inputs, np.float32)}
        )
        self.inputs = inputs
        self.frozen = frozenset(frozen)  # parameters that have no gradient: anchors, grids
        self._fixed: set[str] = set()  # constants that depend on nothing that trains
        self.tensors: dict[Entry, str] = {}
        self.derived: dict[str, str] = {}  # tensor -> the parameter it is computed from
        self.frames: dict[str, str] = {}  # clip -> its frames
        self.unknown: set[str] = set()  # variables with neither a shape nor a value
        self.taken: set[str] = set(inputs)
        self.computed = self._evaluated()
        self.graph = Graph([Input(n, (0, *s[1:])) for n, s in inputs.items()], [], [], {})

    def run(self) -> Traced:
        live = self._live()
        for index, node in enumerate(self.symbol.nodes):
            if index not in live:
                continue
            if node.is_variable:
                self._variable(index, node)
            elif node.tag.get("role") == tags.END:
                self._fake_quantize(index, node)
            elif node.tag.get("role") == tags.VALUES:
                self._quantized_values(index, node)
            elif node.tag.get("role") == tags.CODEBOOK:
                self._codebook(index, node)
            elif node.tag.get("role") == tags.CAST:
                self.tensors[index, 0] = self.tensors[node.inputs[0]]
            else:
                self._operator(index, node)
        self.graph.outputs = [self._output(entry) for entry in self.symbol.heads]
        self.graph.prune()
        self._check_known()
        live = {n for node in self.graph.nodes for n in node.outputs} | set(self.inputs)
        entries = {name: e for e, name in self.tensors.items() if name in live}
        self.graph.meta["framework"] = f"mxnet {mx.__version__}"
        self.graph.meta["input_shapes"] = [list(shape) for shape in self.inputs.values()]
        return Traced(self.graph, self.symbol, entries, self.values, self.shapes)

    # ------------------------------------------------------------ what converters call
    def add(self, op: str, inputs: list[str], name: str, outputs: int, attrs: dict) -> list[str]:
        name = self._fresh(name)
        names = [name] if outputs == 1 else [self._fresh(f"{name}:{i}") for i in range(outputs)]
        self.graph.nodes.append(Node(op, name, inputs, names, attrs))
        return names

    def constant(self, stem: str, data: np.ndarray) -> str:
        read = {name for node in self.graph.nodes for name in node.inputs}
        # A parameter that nothing has read yet is replaced, name and all.
        name = self._fresh(stem) if stem in read else stem
        self.graph.constants[name] = Constant(data)
        if stem not in self.derived:
            self._fixed.add(name)
        return name

    def note(self, kind: str, tensor: str, value: Any) -> None:
        self.graph.meta.setdefault(kind, {})[tensor] = value

    def value(self, tensor: str) -> np.ndarray | None:
        constant = self.graph.constants.get(tensor)
        return None if constant is None else constant.data

    def producer(self, tensor: str) -> Node | None:
        return next((n for n in reversed(self.graph.nodes) if tensor in n.outputs), None)

    # ------------------------------------------------------------ nodes
    def _variable(self, index: int, node: SymbolNode) -> None:
        if node.name in self.inputs:
            self.tensors[index, 0] = node.name
        elif node.name in self.values:
            name = self._fresh(self.structural.get(node.name, node.name))
            self.graph.constants[name] = Constant(_checked(name, self.values[node.name].asnumpy()))
            self.tensors[index, 0] = name
            self.derived[name] = node.name
            if node.name in self.frozen:
                self._fixed.add(name)
        else:  # a label, say: an error only if something that matters reads it
            self.unknown.add(node.name)
            self.tensors[index, 0] = node.name

    def _operator(self, index: int, node: SymbolNode) -> None:
        inputs = [self.tensors[entry] for entry in node.inputs]
        parameters = [self.derived.get(t) for t in inputs]
        view = MxNode(
            self,
            node.operator,
            self._name(node, parameters),
            inputs,
            node.attrs,
            [self.shapes.get(entry) for entry in node.inputs],
            self.shapes.get((index, 0)),
            self.symbol.outputs_of(index),
        )
        odd = self._other_dtypes(index, node)
        if odd:
            why = f"it works on {', '.join(sorted(odd))}"
            outputs = self._folded(index, view) or self._opaque(view, why)
        else:
            outputs = self._convert(index, view)
        if inputs and all(parameters):
            self.derived.update(dict.fromkeys(outputs, parameters[0]))
        for out, tensor in enumerate(outputs):
            self.tensors[index, out] = tensor

    def _convert(self, index: int, view: MxNode) -> list[str]:
        """The node's outputs, by its converter, or as an opaque node if none fits."""
        before = len(self.graph.nodes)
        why = "the op table has no such operator"
        try:
            if view.operator in CONVERTERS:
                outputs = frames.convert(view)
                outputs = [outputs] if isinstance(outputs, str) else list(outputs)
                if len(outputs) >= view.outputs:
                    return outputs
                why = f"{view.outputs} outputs, of which the op table has {len(outputs)}"
        except Unconvertible as error:
            why = f"not in the op table with {error}" if str(error) else "not in the op table so"
        self._undo(before)
        return self._folded(index, view) or self._opaque(view, why)

    def _undo(self, before: int) -> None:
        for node in self.graph.nodes[before:]:
            self.taken.difference_update((node.name, *node.outputs))
        gone = {name for node in self.graph.nodes[before:] for name in node.outputs}
        self.frames = {k: v for k, v in self.frames.items() if not gone.intersection((k, v))}
        del self.graph.nodes[before:]

    def _folded(self, index: int, view: MxNode) -> list[str]:
        """The outputs as constants, computed by MXNet, if they depend on nothing that trains."""
        if not self._fixed.issuperset(view.inputs) or not _is_function(view.operator):
            return []
        try:
            entries = [(index, i) for i in range(view.outputs)]
            values = self.symbol.evaluate(entries, self.values)
        except mx.MXNetError:  # of a shape known only when it runs
            return []
        names = (
            [view.name] if len(values) == 1 else [f"{view.name}:{i}" for i in range(len(values))]
        )
        made = [self.constant(self._fresh(n), v) for n, v in zip(names, values, strict=True)]
        self._fixed.update(made)
        return made

    def _opaque(self, view: MxNode, why: str) -> list[str]:
        attrs = {"operator": view.operator, "attrs": dict(view.attrs.raw)}
        outputs = view.emit_many("opaque", view.outputs, *view.inputs, **attrs)
        self.note("opaque", self.graph.nodes[-1].name, why)
        return outputs

    def _other_dtypes(self, index: int, node: SymbolNode) -> set[str]:
        """What the node reads or makes that are not floating-point numbers."""
        entries = [*node.inputs, *((index, i) for i in range(self.symbol.outputs_of(index)))]
        found = {self.dtypes.get(entry, "float32") for entry in entries}
        return {dtype for dtype in found if "float" not in dtype}

    def _fake_quantize(self, index: int, node: SymbolNode) -> None:
        """The composition that ends here as one node: its tag says bits and axis."""
        x = self.tensors[self._quantized(node)]
        if node.tag.get("dynamic"):
            owner = self.symbol.nodes[index].name.removeprefix(self.prefix)
            attrs = {"bits": int(node.tag["bits"])}
            (self.tensors[index, 0],) = self.add("fake_quantize_dynamic", [x], owner, 1, attrs)
            return
        source = self.derived.get(x)
        if source is None:  # an activation: its scale is a parameter of the layer
            variable = self._looked_up(self.symbol.nodes[self._scale(node)[0]])
            scale_name = self.structural.get(variable, variable)
            name = scale_name.removesuffix("_scale")
        else:
            parameter = self.structural.get(source, source)
            name, scale_name = f"{parameter}.quantized", f"{parameter}_scale"
        output = self._quantizer(index, node, x, self._scale(node), name, scale_name)
        if source is not None:
            self.derived[output] = source

    def _quantizer(
        self, index: int, node: SymbolNode, x: str, scale: Entry, name: str, scale_name: str
    ) -> str:
        axis, groups = node.tag.get("axis"), node.tag.get("groups")
        shape = () if axis is None else (-1,) if groups is None else (-1, groups)
        scale_name = self._fresh(scale_name)
        values = self.computed[scale].astype(np.float32)
        self.graph.constants[scale_name] = Constant(values.reshape(shape))
        attrs = {"bits": int(node.tag["bits"]), "axis": axis or 0}
        if node.tag.get("unsigned"):
            attrs["unsigned"] = True
        (output,) = self.add("fake_quantize", [x, scale_name], name, 1, attrs)
        self.tensors[index, 0] = output
        return output

    def _quantized_values(self, index: int, node: SymbolNode) -> None:
        """A ternary or binary weight: its values, as MXNet computed them, and their quantizer."""
        variable = self._looked_up(node)
        parameter = self.structural.get(variable, variable)
        name = self._fresh(parameter)
        self.graph.constants[name] = Constant(_checked(name, self.computed[index, 0]))
        scale = self._follow(node, tags.SCALE).inputs[1]
        names = f"{parameter}.quantized", f"{parameter}_scale"
        self.derived[self._quantizer(index, node, name, scale, *names)] = variable

    def _codebook(self, index: int, node: SymbolNode) -> None:
        """A weight looked up in its codebook, as a constant of the weight's name."""
        variable = self._looked_up(node)
        name = self._fresh(self.structural.get(variable, variable))
        self.graph.constants[name] = Constant(_checked(name, self.computed[index, 0]))
        self.tensors[index, 0] = name
        self.derived[name] = variable

    def _looked_up(self, node: SymbolNode) -> str:
        """The variable at the end of the path of first inputs: the weight whose codebook ``node``
        reads, the scale from which a learned one started."""
        while not node.is_variable:
            node = self.symbol.nodes[node.inputs[0][0]]
        return node.name

    def _quantized(self, end: SymbolNode) -> Entry:
        """What the fake quantizer that ends at ``end`` quantizes."""
        return self._follow(end, tags.BEGIN).inputs[0]

    def _scale(self, end: SymbolNode) -> Entry:
        """Its scale."""
        entry = self._follow(self.symbol.nodes[end.inputs[1][0]], tags.SCALE).inputs[1]
        node = self.symbol.nodes[entry[0]]
        return node.inputs[0] if node.tag.get("role") == tags.LEARNED else entry

    def _follow(self, node: SymbolNode, role: str) -> SymbolNode:
        """The node of that role on the path of first inputs from ``node``."""
        while node.tag.get("role") != role:
            node = self.symbol.nodes[node.inputs[0][0]]
        return node

    def _live(self) -> set[int]:
        """Nodes that will be converted: not the inside of fake quantizers and look-ups, nor what
        computes their scales."""
        found: set[int] = set()
        waiting = [index for index, _ in self.symbol.heads]
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            node = self.symbol.nodes[index]
            role, inputs = node.tag.get("role"), node.inputs
            if role == tags.END:
                inputs = [self._quantized(node)]
            elif role in (tags.CODEBOOK, tags.VALUES):
                inputs = []
            waiting.extend(entry[0] for entry in inputs)
        return found

    def _evaluated(self) -> dict[Entry, np.ndarray]:
        """Fake quantizers' scales and codebooks' weights, computed by MXNet itself: the very
        numbers of the simulation."""
        entries = []
        for index, node in enumerate(self.symbol.nodes):
            role = node.tag.get("role")
            if role == tags.END and not node.tag.get("dynamic"):
                entries.append(self._scale(node))
            elif role in (tags.CODEBOOK, tags.VALUES):
                entries.append((index, 0))
            if role == tags.VALUES:
                entries.append(self._follow(node, tags.SCALE).inputs[1])
        entries = list(dict.fromkeys(entries))
        return dict(zip(entries, self.symbol.evaluate(entries, self.values), strict=True))

    # ------------------------------------------------------------ names
    def _name(self, node: SymbolNode, parameters: list[str | None]) -> str:
        """The layer's path for an operator with parameters behind its first input."""
        weights = [p for p in parameters[1:] if p is not None]
        if weights and parameters[0] is None and "elemwise" not in node.operator:
            return self.owners.get(weights[0], node.name)
        return node.name.removeprefix(self.prefix)

    def _fresh(self, stem: str) -> str:
        name, count = stem, 1
        while name in self.taken:
            name, count = f"{stem}_{count}", count + 1
        self.taken.add(name)
        return name

    def _check_known(self) -> None:
        for node in self.graph.nodes:
            for name in self.unknown.intersection(node.inputs):
                raise TraceError(
                    f"variable {name!r}, read by {node.name!r}, is neither an input nor a "
                    "parameter; give its shape (an input) or its value (a parameter)"
                )

    def _output(self, entry: Entry) -> str:
        tensor = self.tensors[entry]
        if tensor in self.inputs or tensor in self.graph.constants:
            (tensor,) = self.add("identity", [tensor], f"{tensor}.output", 1, {})
        return tensor


def _is_function(operator: str) -> bool:
    """Does it give the same for the same inputs, and can MXNet call it by itself?"""
    drawn = ("random", "sample", "shuffle", "Dropout")
    others = ("Custom", "_foreach", "_while_loop", "_cond", "RNN")
    return operator not in others and not any(word in operator for word in drawn)


def _checked(name: str, data: np.ndarray) -> np.ndarray:
    """The parameter as float32 (integers stay); DataError if a value is not finite."""
    if data.dtype.kind == "f":
        data = data.astype(np.float32, copy=False)
        bad = np.count_nonzero(~np.isfinite(data))
        if bad:
            raise DataError(
                f"parameter {name!r} holds {bad} values that are not finite (NaN or infinity) of "
                f"{data.size}; retrain or reload it"
            )
    return data
