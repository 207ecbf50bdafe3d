"""A frozen copy of a network: a teacher that training the original does not touch."""

from __future__ import annotations

from typing import Any


def snapshot(net: Any, *sample: Any) -> Any:
    """``net`` as it is now, as an independent, hybridized ``mx.gluon.SymbolBlock``.

    ``sample``: one batch, an ``mx.nd.NDArray`` for each input (they settle deferred shapes). The
    copy has its own arrays, no gradients, and answers as ``net`` does at inference; of several
    outputs, as a flat list.
    """
    import mxnet as mx

    from gluonzip.gluon.symbolize import symbolize

    net(*sample)
    names = ["data"] if len(sample) == 1 else [f"data{i}" for i in range(len(sample))]
    outputs, _ = symbolize(net, names)
    inputs = [mx.sym.var(name, dtype="float32") for name in names]
    copied = mx.gluon.SymbolBlock(outputs, inputs)
    source = net.collect_params()
    own = copied.collect_params()
    for name in own.keys():  # noqa: SIM118 (a ParameterDict does not iterate)
        parameter = own[name]
        parameter.shape = source[name].shape
        parameter.grad_req = "null"
        parameter.initialize(mx.init.Zero(), force_reinit=True)
        parameter.set_data(source[name].data().copy())
    copied.hybridize(static_alloc=True, static_shape=False)
    return copied
