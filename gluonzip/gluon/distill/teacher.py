"""Teachers: networks that answer without gradients, in MXNet or in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from gluonzip.errors import ConfigError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.compiled import CompiledBlock
from gluonzip.gluon.copying import clone
from gluonzip.gluon.distill import fingerprint
from gluonzip.gluon.distill.taps import TappedBlock, Taps
from gluonzip.gluon.quantization import quantize
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace
from gluonzip.passes import optimize
from gluonzip.spec import PerChannel, WeightQuantization

EngineName = Literal["fp32", "int8"]


class Teacher:
    """Answers and features of one teacher, without gradients, in inference mode.

    ``source``: a Gluon network, or any callable on a batch (which cannot be tapped). ``taps``: the
    layers whose outputs are wanted, in order.
    """

    def __init__(self, source: Any, taps: Sequence[str] = ()) -> None:
        if not callable(source):
            raise ConfigError(f"a teacher must be a network or a callable, got {source!r}")
        self.source, self.names = source, list(taps)
        self._taps = None
        if taps:
            if not isinstance(source, Block) or isinstance(source, CompiledBlock):
                raise UnsupportedError(
                    f"layers {', '.join(map(repr, taps))} cannot be tapped in a "
                    f"{type(source).__name__}; give the teacher as a Gluon network"
                )
            self._taps = Taps(source, list(dict.fromkeys(taps)))

    def __call__(self, inputs: Any) -> tuple[Any, list[Any]]:
        """Outputs and features for a batch."""
        with mx.autograd.pause(train_mode=False):
            outputs = self.source(inputs)
            features = [] if self._taps is None else [self._taps[name] for name in self.names]
        return outputs, features

    def fingerprint(self, sample: Any) -> str:
        """Digest of what it computes. ConfigError for a callable that cannot tell."""
        if not isinstance(self.source, Block) or isinstance(self.source, CompiledBlock):
            raise ConfigError(
                f"answers of a {type(self.source).__name__} cannot be cached without a key: give "
                "teacher_key, a text that changes when the teacher does"
            )
        return fingerprint.combine(
            fingerprint.of_network(self.source, sample.shape), self.names, "mxnet"
        )

    def close(self) -> None:
        if self._taps is not None:
            self._taps.close()


class EngineTeacher(Teacher):
    """A Gluon network, its taps included, in the gluonzip engine: float32 or int8.

    ``sample``: a batch, for its shape. ``calibration`` (for int8): data as for
    :func:`gluonzip.gluon.calibrate`, by default the sample. The network itself is not touched.
    """

    def __init__(
        self,
        net: Block,
        engine: EngineName,
        sample: Any,
        taps: Sequence[str] = (),
        calibration: Any = None,
        threads: int | None = None,
    ) -> None:
        if engine not in ("fp32", "int8"):
            raise ConfigError(f"engine = {engine!r} is unknown; use 'fp32', 'int8' or None")
        if not isinstance(net, Block) or isinstance(net, CompiledBlock):
            raise ConfigError(f"the engine runs Gluon networks; got a {type(net).__name__}")
        graph = optimize(_traced(net, engine, sample, taps, calibration))
        self._key = fingerprint.of_graph(graph)
        super().__init__(CompiledBlock(graph, threads=threads))
        self.names = list(taps)

    def __call__(self, inputs: Any) -> tuple[Any, list[Any]]:
        outputs, _ = super().__call__(inputs)
        if not self.names:
            return outputs, []
        return outputs[0], list(outputs[1:])

    def fingerprint(self, sample: Any) -> str:
        return fingerprint.combine(self._key, self.names, "engine")


def _traced(net: Block, engine: str, sample: Any, taps: Sequence[str], calibration: Any) -> Any:
    copied = clone(net)
    if engine == "int8":
        weights = WeightQuantization(8, PerChannel())
        quantize(copied, weights=weights, data=[sample] if calibration is None else calibration)
    if not taps:
        return trace(copied, sample.shape)
    unique = list(dict.fromkeys(taps))
    with Taps(copied, unique) as wired:
        tapped = TappedBlock(copied, wired)
        graph = trace(tapped, sample.shape)
    order = [0, *(1 + unique.index(name) for name in taps)]
    structure = graph.meta["outputs"]
    graph.meta["outputs"] = [structure[i] for i in order]
    return graph


def frozen_copy(net: Block) -> Block:
    """An independent copy of ``net`` as it is now, without gradients: the dense network that will
    teach its own compressed self."""
    copied = clone(net)
    for parameter in copied.collect_params().values():
        parameter.grad_req = "null"
    return copied


def host(value: Any) -> np.ndarray:
    """An answer as NumPy. UnsupportedError for outputs that are not one array."""
    if not isinstance(value, mx.nd.NDArray):
        raise UnsupportedError(
            f"an answer of type {type(value).__name__} cannot be cached; the teacher must give one "
            "array"
        )
    return value.asnumpy()


def teachers_of(source: Any) -> list[Any]:
    """One teacher or several, as a list."""
    many = list(source) if isinstance(source, (list, tuple)) else [source]
    if not many:
        raise ConfigError("teacher = [] names no teacher")
    return many
