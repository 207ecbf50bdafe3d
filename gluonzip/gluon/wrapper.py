"""The one wrapper: any weighted layer with masks, codebooks, a weight and an input quantizer.

A layer becomes compressed *in place*: its class is exchanged for a subclass of both
:class:`Compressed` and the layer's own type, as ``torch.nn.utils.parametrize`` does. So the block
keeps its identity, attributes, parameters, names, hooks and every place it is referred to from
(parents, lists, shared uses, a network that is itself a layer), and ``isinstance`` still holds.
The forward transforms the weights and hands over to the layer type's own ``hybrid_forward``.

Order of the transforms: mask, codebook, fake quantizer. (Zeros of the mask are no codebook's.)
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon import tags
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.fake_quantize import fake_quantize, fake_quantize_dynamic
from gluonzip.gluon.layers import Layer
from gluonzip.gluon.learned_scale import LearnedScale, learned_names
from gluonzip.gluon.precision import in_float32, require_castable
from gluonzip.gluon.structure import Block, HybridBlock, Parameter, walk
from gluonzip.gluon.weight_schemes import quantize_weight
from gluonzip.spec import ActivationQuantization, Binary, WeightQuantization

INPUT_SCALE, INPUT_GROWTH = learned_names("input")


class Compressed(HybridBlock):
    """What compression adds to a layer; mixed into the layer's own type by :func:`compress`."""

    plain_type: type
    """The layer's own type."""

    _masks: dict[str, str]  # weight attribute -> mask attribute
    _codebooks: dict[str, tuple[str, str]]  # weight attribute -> attributes of codes and codebook
    _weight_quantization: WeightQuantization | None
    _activation_quantization: ActivationQuantization | None
    _quantizing: bool  # False: not yet, on a schedule
    _observer: Any  # called with the layer's input while calibrating
    _channel_axis: int
    _layer_name: str

    # ------------------------------------------------------------ forward
    def hybrid_forward(self, F: Any, x: Any, *args: Any, **params: Any) -> Any:
        masks = {weight: params.pop(mask) for weight, mask in self._masks.items()}
        shared = {w: tuple(map(params.pop, both)) for w, both in self._codebooks.items()}
        scales = {name: params.pop(name) for name in self._scales()}
        for attribute in self._weight_attributes():
            params[attribute] = self._transform(
                F, attribute, params[attribute], masks.get(attribute), shared.get(attribute), scales
            )
        if self._activation_quantization is not None:
            x = self._quantize_input(F, x, scales)
        if self._needs_double():
            params = {name: _cast(F, value, "float64") for name, value in params.items()}
            y = super().hybrid_forward(F, _cast(F, x, "float64"), *args, **params)
            return _cast(F, y, "float32")
        return super().hybrid_forward(F, x, *args, **params)

    def _needs_double(self) -> bool:
        """Is this a transposed convolution whose float32 weight is computed?

        oneDNN fails in its gradient ("could not execute a primitive"); float64 avoids oneDNN.
        """
        transposed = getattr(self, "_op_name", "") == "Deconvolution"
        computed = bool(self._masks or self._codebooks) or self._weight_quantization is not None
        return transposed and computed and np.dtype(self.weight.dtype) == np.float32

    def _weights(self) -> list[Parameter]:
        return [self._reg_params[attribute] for attribute in self._weight_attributes()]

    def _weight_attributes(self) -> list[str]:
        return [a for a in self._reg_params if a == "weight" or a.endswith("_weight")]

    def _scales(self) -> list[str]:
        """Attributes of the quantizers' scales: the input's, and those that are learned."""
        possible = [n for a in (*self._weight_attributes(), "input") for n in learned_names(a)]
        return [name for name in possible if name in self._reg_params]

    def _transform(
        self, F: Any, attribute: str, weight: Any, mask: Any, shared: Any, scales: dict[str, Any]
    ) -> Any:
        if shared is not None:
            weight = look_up(F, weight, *shared)
        if mask is not None:
            weight = weight * mask
        what, raw = self._weight_quantization, self._reg_params[attribute]
        if what is None:
            return weight
        axis, name = self._channel_axis, self._layer_name
        scale = self._learned_scale(attribute, scales)

        def quantizer(w: Any) -> Any:
            if not self._quantizing:
                return _kept(F, w, [] if scale is None else [scale.growth])
            return quantize_weight(F, w, what, raw.shape, axis, scale, name)

        return in_float32(F, weight, raw.dtype, quantizer)

    def _learned_scale(self, attribute: str, scales: dict[str, Any]) -> LearnedScale | None:
        """Of a weight or of ``input``; None if it is not learned."""
        start, growth = learned_names(attribute)
        if growth not in scales:
            return None
        count = None
        if attribute != "input":
            weights, groups = (self._reg_params[name].shape for name in (attribute, start))
            count = float(np.prod(weights) / np.prod(groups))
        return LearnedScale(scales[start], scales[growth], count)

    def _quantize_input(self, F: Any, x: Any, scales: dict[str, Any]) -> Any:
        if self._observer is not None:
            if F is mx.nd or F is mx.ndarray:
                self._observer(x)
            return x
        stored = self._stored_scale()
        if stored == 0:
            raise DataError(
                f"layer {self._layer_name!r} quantizes its input but has no scale yet; call "
                "gluonzip.gluon.calibrate(net, data) or load calibrated parameters"
            )
        unsigned = stored < 0
        if unsigned:
            scales = {**scales, INPUT_SCALE: F.abs(scales[INPUT_SCALE])}
        bits, dtype = self._activation_quantization.bits, self._weights()[0].dtype
        scale = self._learned_scale("input", scales) or scales.get(INPUT_SCALE)

        def quantizer(x: Any) -> Any:
            if not self._quantizing:
                return _kept(F, x, [v for k, v in scales.items() if k.startswith(INPUT_SCALE)])
            if scale is None:
                return fake_quantize_dynamic(F, x, bits)
            return fake_quantize(F, x, scale, bits, unsigned=unsigned)

        return in_float32(F, x, dtype, quantizer)

    # ------------------------------------------------------------ state
    def cast(self, dtype: Any) -> None:
        """As Gluon's; scales stay float32, in which quantizers compute whatever the network's type.

        Raises UnsupportedError for bfloat16, to which MXNet 1.9 casts no parameters.
        """
        require_castable(dtype)
        kept = [self._reg_params[name] for name in self._scales()]
        values = [p.list_data()[0].copy() for p in kept]
        super().cast(dtype)
        for parameter, value in zip(kept, values, strict=True):
            parameter.cast(np.float32)
            parameter.set_data(value)

    @property
    def calibrated(self) -> bool:
        """Does the input quantizer have its scale? (True without an input quantizer.)"""
        return self._stored_scale() != 0

    @property
    def unsigned_input(self) -> bool:
        """Are the codes of the input unsigned? Calibration decides, and loaded parameters do: the
        stored scale is negative then, so that files with and without unsigned codes have the same
        parameters. A hybridized network that has run already keeps what it ran with: hybridize it
        again after loading parameters that were calibrated otherwise."""
        return self._stored_scale() < 0

    def _stored_scale(self) -> float:
        """0 before calibration, below zero if codes are unsigned; 1 without such a parameter."""
        parameter = self._reg_params.get(INPUT_SCALE)
        return 1.0 if parameter is None else float(parameter.list_data()[0].asscalar())

    def effective_weight(self, attribute: str = "weight") -> Any:
        """The weight as the layer uses it (masked, fake-quantized): an NDArray."""
        parameter = self._reg_params[attribute]
        mask, shared = self._masks.get(attribute), self._codebooks.get(attribute)
        with mx.autograd.pause():
            value = parameter.list_data()[0]
            mask = self._first_copy(mask) if mask else None
            shared = tuple(map(self._first_copy, shared)) if shared else None
            scales = {name: self._first_copy(name) for name in self._scales()}
            return self._transform(mx.nd, attribute, value, mask, shared, scales)

    def _first_copy(self, attribute: str) -> Any:
        return self._reg_params[attribute].list_data()[0]

    def _added(self) -> set[str]:
        """Attributes of the parameters that compression added."""
        books = [name for both in self._codebooks.values() for name in both]
        return {*self._masks.values(), *books, *self._scales(), INPUT_SCALE}

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # The class is made at run time: pickles name the layer's own type.
        _, _, *rest = super().__reduce_ex__(max(protocol, 2))
        return (_blank, (self.plain_type,), *rest)

    def __repr__(self) -> str:
        added = ["mask"] if self._masks else []
        added += ["codebook"] if self._codebooks else []
        if self._weight_quantization is not None:
            added.append(f"{self._weight_quantization.bits}-bit weights")
        if self._activation_quantization is not None:
            kind = "dynamic " if self._activation_quantization.mode == "dynamic" else ""
            kind = "unsigned " if self.unsigned_input else kind
            added.append(f"{kind}{self._activation_quantization.bits}-bit input")
        added += [] if self._quantizing else ["quantization off"]
        return f"{super().__repr__()} with {', '.join(added) or 'nothing'}"

    def _collect_params_with_prefix(self, prefix: str = "") -> dict[str, Parameter]:
        # Some layers rename their parameters here and know nothing of masks and scales.
        own, everything = {}, self._reg_params
        added = self._added()
        try:
            self._reg_params = {k: v for k, v in everything.items() if k not in added}
            own = super()._collect_params_with_prefix(prefix)
        finally:
            self._reg_params = everything
        dot = f"{prefix}." if prefix else ""
        own.update({dot + k: v for k, v in everything.items() if k in added})
        return own


def _kept(F: Any, x: Any, scales: list[Any]) -> Any:
    """``x`` as it is, and gradients of zero for ``scales``: a trainer asks for those."""
    for scale in scales:
        x = F.broadcast_add(x, F.sum(scale * 0.0, keepdims=True))
    return x


def _cast(F: Any, x: Any, dtype: str) -> Any:
    with tags.tag(F, tags.CAST):
        return F.cast(x, dtype)


@functools.cache
def _compressed_type(plain: type) -> type:
    namespace = {"plain_type": plain, "__module__": plain.__module__}
    return type(f"Compressed{plain.__name__}", (Compressed, plain), namespace)


def _blank(plain: type) -> Compressed:
    """A compressed layer without state, for unpickling."""
    compressed = _compressed_type(plain)
    return compressed.__new__(compressed)


def compress(layer: Layer) -> Compressed:
    """The layer's block with an empty set of transforms (or as it was, if compressed already)."""
    block = layer.block
    if not isinstance(block, Compressed):
        block.__class__ = _compressed_type(type(block))
        block._masks = {}
        block._codebooks = {}
        block._weight_quantization = None
        block._activation_quantization = None
        block._quantizing = True
        block._observer = None
        block._channel_axis = 1 if layer.transposed else 0
        block._layer_name = layer.name
    return block


def restore(block: Compressed) -> None:
    """Make a compressed block plain again; its weights keep their raw values."""
    for weight in list(block._codebooks):
        drop_codebook(block, weight)
    for attribute in block._added():
        drop_parameter(block, attribute)
    for attribute in list(vars(block)):
        if attribute in Compressed.__annotations__ and attribute != "plain_type":
            del block.__dict__[attribute]
    block.__class__ = block.plain_type


# ---------------------------------------------------------------- masks and scales
def set_mask(block: Compressed, attribute: str, mask: np.ndarray, shared: Parameter | None) -> None:
    """Give a weight its mask of zeros and ones (or ``shared``, another layer's mask).

    ConfigError for binary weights, which have no zero.
    """
    if isinstance(block._weight_quantization, Binary):
        raise ConfigError(no_zeros(block._layer_name))
    name = f"{attribute}_mask"
    if name not in block._reg_params:
        add_parameter(block, name, block._reg_params[attribute], mask.shape, "ones", shared)
        block._masks[attribute] = name
    parameter = block._reg_params[name]
    parameter.set_data(mx.nd.array(mask, dtype=parameter.dtype))


def add_parameter(
    block: Compressed,
    attribute: str,
    like: Parameter,
    shape: tuple[int, ...],
    init: str,
    shared: Parameter | None = None,
    trained: bool = False,
    dtype: Any = None,
) -> Parameter:
    """A parameter on the devices of ``like``, registered with the block; no gradient by default.

    ``dtype``: that of ``like`` by default.
    """
    if shared is not None:
        block.params.update({shared.name: shared})
        parameter = shared
    else:
        parameter = block.params.get(
            attribute, shape=shape, dtype=dtype or like.dtype, init=init, differentiable=trained
        )
        if parameter._data is None:
            parameter.initialize(ctx=like.list_ctx())
    setattr(block, attribute, parameter)
    return parameter


def drop_parameter(block: Compressed, attribute: str) -> None:
    parameter = block._reg_params.pop(attribute, None)
    if parameter is not None:
        block.params._params.pop(parameter.name, None)
        del block.__dict__[attribute]


def no_zeros(layer: str) -> str:
    return (
        f"layer {layer!r}: pruned weights are zero and binary weights never are; use Ternary() or "
        "leave the layer out"
    )


# ---------------------------------------------------------------- codebooks
def look_up(F: Any, weight: Any, codes: Any, codebook: Any) -> Any:
    """``codebook``'s values at ``codes``; their gradients add up for each value of the codebook.

    ``weight`` adds exactly 0: it only says whose values these are (and keeps MXNet from warning of
    a parameter that nothing uses).
    """
    values = F.take(F.reshape(codebook, shape=(-1,)), codes)
    nothing = weight - F.BlockGrad(weight)
    with tags.tag(F, tags.CODEBOOK):
        return nothing + values


def set_codebook(
    block: Compressed,
    attribute: str,
    codes: np.ndarray,
    codebook: np.ndarray,
    shared: Parameter | None = None,
) -> Parameter:
    """Let a weight take its values from ``codebook`` (or ``shared``, another layer's).

    ``codes``: indices into the flat codebook, of the weight's shape. The weight itself no longer
    trains, the codebook does. Returns the codebook's parameter.
    """
    drop_codebook(block, attribute)
    weight = block._reg_params[attribute]
    names = f"{attribute}_codes", f"{attribute}_codebook"
    stored = add_parameter(block, names[0], weight, codes.shape, "zeros")
    book = add_parameter(block, names[1], weight, codebook.shape, "zeros", shared, trained=True)
    stored.set_data(mx.nd.array(codes, dtype=stored.dtype))
    book.set_data(mx.nd.array(codebook, dtype=book.dtype))
    block._codebooks[attribute] = names
    weight.__dict__.setdefault("_before_codebook", weight.grad_req)
    weight.grad_req = "null"
    return book


def drop_codebook(block: Compressed, attribute: str) -> None:
    """Undo :func:`set_codebook`; the weight trains again, from its raw values."""
    for name in block._codebooks.pop(attribute, ()):
        drop_parameter(block, name)
    weight = block._reg_params[attribute]
    weight.grad_req = weight.__dict__.pop("_before_codebook", weight.grad_req)


def compressed_blocks(net: Block) -> list[Compressed]:
    """The compressed layers of ``net``, each once."""
    return [block for _, block in walk(net) if isinstance(block, Compressed)]
