"""Floats in two bytes each, when the network is packed."""

from __future__ import annotations

from typing import Literal

from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import Layers, Method
from gluonzip.spec import FloatStorage


class Store(Method):
    """Store the float32 weights and biases of ``layers`` as ``dtype``.

    They are rounded when the network is packed (batch norms are folded then), and are float32 again
    in the engine. Integers of a stage ``quantize`` stay integers.
    """

    method: Literal["store"] = "store"
    dtype: Literal["float16", "bfloat16"] = "float16"
    layers: Layers = ("*",)

    def run(self, job: Job) -> None:
        from gluonzip.gluon import layers
        from gluonzip.gluon.layers import select
        from gluonzip.gluon.record import NOT_SELECTED, LayerRecord

        job.storage = FloatStorage(self.dtype), self.layers
        chosen = select(job.net, self.layers)
        job.records["store"] = {
            name: LayerRecord(
                name, layer.kind, layer.size, name in chosen,
                "" if name in chosen else NOT_SELECTED,
                {"storage": self.dtype} if name in chosen else {},
            )
            for name, layer in layers(job.net).items()
        }  # fmt: skip
