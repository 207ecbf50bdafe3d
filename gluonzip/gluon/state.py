"""What compression has done to a network's structure, to be stored and put on a fresh network.

Parameters alone do not tell: a network built anew has no masks and quantizers to load them into.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from gluonzip.errors import CheckpointError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer, layers
from gluonzip.gluon.structure import Block, clear_caches
from gluonzip.gluon.wrapper import Compressed, add_parameter, compress, restore

_NOT_STORED = {"plain_type", "_observer"}


def compression_state(net: Block) -> dict[str, dict[str, Any]]:
    """Layer name -> its transforms' settings and the parameters that it has. Plain values."""
    known = layers(net)
    owners: dict[int, tuple[str, str]] = {}
    state = {}
    for name, layer in known.items():
        parameters = {}
        for attribute, parameter in layer.block._reg_params.items():
            owner = owners.setdefault(id(parameter), (name, attribute))
            parameters[attribute] = {
                "shape": tuple(parameter.shape or ()),
                "dtype": np.dtype(parameter.dtype).str,
                "grad_req": parameter.grad_req,
                "shared": None if owner == (name, attribute) else owner,
            }
        if isinstance(layer.block, Compressed):
            own = vars(layer.block)
            names = [a for a in Compressed.__annotations__ if a in own and a not in _NOT_STORED]
            settings = {a: copy.deepcopy(own[a]) for a in names}
            state[name] = {"settings": settings, "parameters": parameters}
    return state


def restore_compression(net: Block, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Give ``net`` the transforms of ``state``, and no others; their values are not set.

    Raises CheckpointError when a layer of ``state`` is not there.
    """
    known = layers(net)
    missing = [name for name in state if name not in known]
    if missing:
        raise CheckpointError(
            f"the network has no layer {missing[0]!r}, which was compressed when the state was "
            f"stored; it has {', '.join(list(known)[:8])}"
        )
    for name, layer in known.items():
        if name in state:
            _restore_layer(known, layer, state[name])
        elif isinstance(layer.block, Compressed):
            restore(layer.block)
    clear_caches(net)


def _restore_layer(known: Mapping[str, Layer], layer: Layer, stored: Mapping[str, Any]) -> None:
    block = compress(layer)
    for attribute, value in stored["settings"].items():
        setattr(block, attribute, copy.deepcopy(value))
    weight = next(iter(layer.weights.values()))
    for attribute, facts in stored["parameters"].items():
        parameter = block._reg_params.get(attribute)
        if parameter is None:
            shared, trained = None, facts["grad_req"] != "null"
            if facts["shared"]:
                owner, owned = facts["shared"]
                shared = known[owner].block._reg_params[owned]
            shape = facts["shape"]
            parameter = add_parameter(
                block, attribute, weight, shape, "zeros", shared, trained, facts["dtype"]
            )
        if parameter.grad_req != facts["grad_req"]:
            parameter.grad_req = facts["grad_req"]


def parameter_values(net: Block) -> dict[str, np.ndarray]:
    """Structural name -> value, of every parameter. CheckpointError for one without values."""
    values = {}
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter._data is None:
            raise CheckpointError(f"parameter {name!r} has no values yet: run one forward first")
        values[name] = parameter.list_data()[0].asnumpy()
    return values


def set_parameter_values(net: Block, values: Mapping[str, np.ndarray], origin: str) -> None:
    """Set every parameter of ``net``, deferred ones too. CheckpointError when names or shapes
    differ from ``values`` (which came from ``origin``)."""
    parameters = net._collect_params_with_prefix()
    if odd := sorted(set(parameters) ^ set(values)):
        where = "the network" if odd[0] in parameters else origin
        raise CheckpointError(
            f"{origin} belongs to another network: parameter {odd[0]!r} is in {where} alone"
        )
    for name, parameter in parameters.items():
        value = mx.nd.array(values[name], dtype=values[name].dtype)
        try:
            if parameter._data is None:
                parameter._load_init(value, parameter.list_ctx(), cast_dtype=True)
            else:
                parameter.set_data(value)
        except (AssertionError, RuntimeError, ValueError, mx.MXNetError) as error:
            reason = str(error).strip().splitlines()
            raise CheckpointError(
                f"{origin}: parameter {name!r} of shape {value.shape} does not fit the network's "
                f"{parameter.shape}: {reason[0] if reason else type(error).__name__}"
            ) from None
