"""Calling a network with symbols, and saying which child is at fault when that fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from typing import Any

from gluonzip.errors import GluonzipError, TraceError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.structure import Block, plain_type, walk

_ADVICE = (
    (
        "has no attribute 'shape'",
        "use operators that need no shape (reshape codes 0, -1, -3, -4; slice_like, "
        "broadcast_like, reshape_like) instead of x.shape",
    ),
    (
        "must have NDArray type",
        "call operators through the F of hybrid_forward (or as methods of the tensor), not through "
        "mx.nd",
    ),
)
_GENERAL = (
    "make the block a HybridBlock whose hybrid_forward uses only F operators and no Python control "
    "flow on values, or trace its traceable children one by one"
)


def symbolize(net: Block, names: Sequence[str]) -> tuple[Any, Any]:
    """``net`` called with one variable for each input name.

    Returns (symbol of all outputs flattened, structure). The structure mirrors what the network
    returns: an index into the outputs, or a list of structures; None stays None.
    Raises TraceError naming the child block at fault, the reason and what to do.
    """
    variables = [mx.sym.var(name) for name in names]
    try:
        result = net(*variables)
    except GluonzipError:
        raise  # ours, and clear: a layer that is not calibrated
    except Exception as error:
        path, block = _culprit(net, variables)
        raise TraceError(_message(net, path, block, error)) from error
    leaves: list[Any] = []
    structure = _flatten(result, leaves)
    if not leaves:
        raise TraceError(f"{_title(net)} cannot be traced: it returns no outputs")
    return mx.sym.Group(leaves), structure


def _flatten(value: Any, leaves: list[Any]) -> Any:
    if isinstance(value, mx.sym.Symbol):
        first = sum(len(leaf.list_outputs()) for leaf in leaves)
        count = len(value.list_outputs())
        leaves.append(value)
        return first if count == 1 else list(range(first, first + count))
    if isinstance(value, (list, tuple)):
        return [_flatten(item, leaves) for item in value]
    if value is None:
        return None
    raise TraceError(
        f"the network returned a {type(value).__name__} when called with symbols, so its outputs "
        f"do not all depend on its inputs through operators; {_GENERAL}"
    )


def _culprit(net: Block, variables: list[Any]) -> tuple[str, Block]:
    """The innermost block whose call fails, found by calling again with hooks."""
    paths = {id(block): path for path, block in walk(net)}
    stack: list[Block] = []
    hooks = []
    for _, block in walk(net):
        hooks.append(block.register_forward_pre_hook(lambda b, _: stack.append(b)))
        hooks.append(block.register_forward_hook(lambda *_: stack.pop()))
    try:
        net(*variables)
    except Exception:
        pass
    finally:
        for hook in hooks:
            hook.detach()
    block = stack[-1] if stack else net
    return paths[id(block)], block


def _title(block: Block) -> str:
    return f"network {block.name!r} ({plain_type(block).__name__})"


def _message(net: Block, path: str, block: Block, error: Exception) -> str:
    where = f"child {path!r} ({plain_type(block).__name__})" if path else "its own forward"
    text = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {text[0] if text else ''}{_line(error)}"
    advice = next((a for pattern, a in _ADVICE if pattern in str(error)), _GENERAL)
    return f"{_title(net)} cannot be traced: {where} failed with symbols, {reason}; {advice}"


def _line(error: Exception) -> str:
    """The last line outside MXNet and this file that the error passed through."""
    library = os.path.dirname(mx.__file__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(library) and frame.filename != __file__:
            return f" ({os.path.basename(frame.filename)}:{frame.lineno})"
    return ""
