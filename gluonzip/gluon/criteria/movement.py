"""Movement of weights during training: -gradient * weight, summed over steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Selection, select
from gluonzip.gluon.structure import Block, Parameter, parameter_names


class Movement(Mapping):
    """Accumulates -gradient * weight of each weight; structural name -> float32 array.

    Positive where training moves a weight away from zero (Sanh et al., "Movement Pruning", NeurIPS
    2020). Call :meth:`step` once a batch, after ``trainer.step()`` (or before the next batch): the
    weights of the forward pass are remembered from the call before. The gradients are those that
    the network holds (of the summed loss, as Gluon's trainers take them), summed over devices.

    ::

        movement = Movement(net)
        for x, y in data:
            with autograd.record():
                loss = loss_of(net(x), y)
            loss.backward()
            trainer.step(len(x))
            movement.step()
        prune(net, sparsity=0.9, criterion="movement", movement=movement)
    """

    def __init__(self, net: Block, layers: Selection = None) -> None:
        self.net = net
        chosen = [layer for layer in select(net, layers).values() if not layer.obstacle]
        names = parameter_names(net)
        self._parameters: dict[str, Parameter] = {}
        for layer in chosen:
            for attribute, parameter in layer.weights.items():
                layer.data(attribute)
                self._parameters.setdefault(names[parameter.name], parameter)
        self._total = {
            name: mx.nd.zeros_like(p.list_data()[0]) for name, p in self._parameters.items()
        }
        for parameter in self._parameters.values():
            if parameter.grad_req != "null":
                parameter.zero_grad()  # what earlier training left is not part of it
        self._before: dict[str, Any] = {}
        self.remember()

    def remember(self) -> None:
        """The present weights are those of the next forward pass (after they were changed)."""
        self._before = {name: p.list_data()[0].copy() for name, p in self._parameters.items()}

    def step(self) -> None:
        """Add what the gradients of the last ``backward()`` say. Weights without one do not move.

        A gradient that is not finite is found when the values are read.
        """
        for name, parameter in self._parameters.items():
            if parameter.grad_req == "null":
                continue
            before = self._before[name]
            for gradient in parameter.list_grad():
                self._total[name] -= gradient.as_in_context(before.context) * before
        self.remember()

    def __getitem__(self, name: str) -> np.ndarray:
        value = self._total[name].asnumpy()
        if not np.isfinite(value).all():
            raise DataError(
                f"the movement of {name!r} is not finite: its gradients were NaN or inf"
            )
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._total)

    def __len__(self) -> int:
        return len(self._total)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that a resumed run needs; take it between two steps.

        The last gradients are added first, and cleared, so that they do not count twice.
        """
        self.step()
        for parameter in self._parameters.values():
            if parameter.grad_req == "write":
                parameter.zero_grad()
        return {
            f"{part}:{name}": array.asnumpy()
            for part, arrays in (("total", self._total), ("before", self._before))
            for name, array in arrays.items()
        }

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`state` gave. DataError when it is another network's."""
        saved = {key.partition(":")[2] for key in state}
        if saved != set(self._total):
            odd = ", ".join(sorted(saved ^ set(self._total)))
            raise DataError(f"the saved movement is of other layers: {odd}")
        for name, total in self._total.items():
            total[:] = mx.nd.array(state[f"total:{name}"])
            self._before[name] = mx.nd.array(state[f"before:{name}"], ctx=total.context)
