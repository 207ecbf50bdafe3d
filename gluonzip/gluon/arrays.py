"""NDArrays as NumPy arrays and back, without copies where MXNet allows it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from gluonzip.gluon._mxnet import mx


def view(array: Any) -> np.ndarray:
    """A read-only NumPy view of a dense NDArray in host memory, once it is computed.

    The view keeps the NDArray alive. What is elsewhere (a GPU, sparse storage) is copied.
    """
    if array.stype != "default" or array.context.device_type == "gpu":
        return array.asnumpy()
    array.wait_to_read()
    dtype, address = np.dtype(array.dtype), ctypes.c_void_p()
    status = mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address))
    mx.base.check_call(status)
    if not array.size:
        return np.empty(array.shape, dtype)
    memory = (ctypes.c_byte * (array.size * dtype.itemsize)).from_address(address.value)
    memory.owner = array
    result = np.frombuffer(memory, dtype).reshape(array.shape)
    result.flags.writeable = False
    return result


def wrap(array: np.ndarray, context: Any) -> Any:
    """An NDArray on ``context`` that takes over the memory of ``array`` (or copies it if it must).

    ``array`` must not be written to any more.
    """
    if context.device_type != "cpu" or not array.flags.c_contiguous or array.dtype == np.int8:
        return mx.nd.array(array, ctx=context, dtype=array.dtype)
    return mx.nd.from_numpy(array)
