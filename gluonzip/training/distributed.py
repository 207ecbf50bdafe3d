"""Training on several workers through MXNet's own distributed key-value store.

Every worker has the whole network and its share of the data. Gradients are summed by the servers
and each worker makes the same update, so weights, and masks made from them, are equal to the bit on
all workers. What each worker finds by itself (running means of batch norms, ranges of activations)
is brought together by :meth:`Cluster.synchronize`.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError, DivergedError

_FIRST_KEY = 1_000_000
"""The trainer's keys are its parameters' positions; ours lie above."""

_STATISTICS = ("running_mean", "running_var", "moving_mean", "moving_var")

_VARIABLES = ("DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER")


class Cluster:
    """This process as one of several workers.

        cluster = Cluster()
        data = Batches(images, labels, 64, shuffle=True, shard=cluster.shard)
        fit(net, data, training, cluster=cluster)

    Started with the environment variables of MXNet's parameter server, by ``python -m
    gluonzip.training.launch`` or by hand (docs/distributed.md). ``kind``: ``"dist_sync"`` or
    ``"dist_device_sync"``. Raises ConfigError outside a cluster.
    """

    def __init__(self, kind: str = "dist_sync") -> None:
        import mxnet as mx

        if kind not in ("dist_sync", "dist_device_sync"):
            raise ConfigError(
                f"kind = {kind!r} is not usable: workers must stay in step (dist_sync), or masks "
                "would differ"
            )
        missing = [name for name in _VARIABLES if name not in os.environ]
        if missing:
            raise ConfigError(
                f"this process is no worker of a cluster ({missing[0]} is not set); start it with "
                "python -m gluonzip.training.launch --workers 2 SCRIPT"
            )
        self.kvstore = mx.kv.create(kind)
        self.rank: int = self.kvstore.rank
        self.workers: int = self.kvstore.num_workers
        self._keys: dict[Any, int] = {}

    @property
    def shard(self) -> tuple[int, int]:
        """(rank, workers): this worker's share of the data, for :class:`Batches`."""
        return self.rank, self.workers

    def trainer(self, parameters: Any, optimizer: str, options: dict[str, Any]) -> Any:
        """An ``mx.gluon.Trainer`` of this cluster; call :meth:`broadcast` first.

        Update with ``trainer.step(batch_size * cluster.workers)``: gradients are summed.
        """
        import mxnet as mx

        made = mx.gluon.Trainer(
            parameters, optimizer, options, kvstore=self.kvstore, update_on_kvstore=False
        )
        # By itself the trainer would pull the first weights and push the first gradients under the
        # same keys without an order, so that a late worker gets gradients for weights; and weights
        # in a layout of oneDNN's never arrive. The weights are equal already: keys will do.
        for key, parameter in enumerate(made._params):
            self.kvstore.init(key, mx.nd.zeros(parameter.shape, dtype=parameter.dtype))
        made._params_to_init = []
        mx.nd.waitall()
        self.barrier()
        return made

    def sum(self, values: np.ndarray, name: Any) -> np.ndarray:
        """The sum of all workers' ``values``, float32; a ``name`` has one shape for good."""
        import mxnet as mx

        value = mx.nd.array(values, dtype=np.float32)
        shape = value.shape
        key = self._keys.get((name, shape))
        if key is None:
            key = self._keys[name, shape] = _FIRST_KEY + len(self._keys)
            self.kvstore.init(key, mx.nd.zeros(shape))
        self.kvstore.push(key, value)
        result = mx.nd.zeros(shape)
        self.kvstore.pull(key, out=result)
        return result.asnumpy()

    def agree(self, what: str, value: float) -> None:
        """DivergedError unless every worker has the same ``value`` (a small whole number)."""
        own = np.zeros(self.workers, np.float32)
        own[self.rank] = value
        everybody = self.sum(own, f"agree {what}")
        if (everybody != everybody[0]).any():
            raise DivergedError(
                f"the workers differ in {what}: {everybody.astype(int).tolist()}; they must start "
                "from the same checkpoint (a folder that all of them see)"
            )

    def broadcast(self, net: Any) -> None:
        """Give every worker the parameters of worker 0. DataError for one without values."""
        import mxnet as mx

        for name, parameter in sorted(net._collect_params_with_prefix().items()):
            if parameter._data is None:
                raise DataError(
                    f"parameter {name!r} has no values yet, so workers cannot begin alike: run one "
                    "forward pass first"
                )
            value = parameter.list_data()[0].asnumpy()
            first = self.sum(value if self.rank == 0 else np.zeros_like(value), name)
            parameter.set_data(mx.nd.array(first, dtype=value.dtype))

    def synchronize(self, net: Any) -> None:
        """Make every parameter without gradient equal on all workers, and check the others.

        Running means and variances become the mean over workers; masks and scales those of worker
        0. Raises DivergedError when the trained weights are not equal to the bit.
        """
        import mxnet as mx

        known = sorted(net._collect_params_with_prefix().items())
        known = [(name, parameter) for name, parameter in known if parameter._data is not None]
        self._same({n: p.list_data()[0] for n, p in known if p.grad_req != "null"})
        for name, parameter in known:
            if parameter.grad_req != "null":
                continue
            value = parameter.list_data()[0].asnumpy()
            if name.endswith(_STATISTICS):
                agreed = self.sum(value, name) / self.workers
            else:
                agreed = self.sum(value if self.rank == 0 else np.zeros_like(value), name)
            parameter.set_data(mx.nd.array(agreed, dtype=value.dtype))

    def _same(self, values: dict[str, Any]) -> None:
        """Compare checksums, in parts that float32 holds exactly."""
        own = np.zeros((self.workers, len(values), 2), np.float32)
        for place, value in enumerate(values.values()):
            checksum = zlib.crc32(np.ascontiguousarray(value.asnumpy()).tobytes())
            own[self.rank, place] = checksum >> 16, checksum & 0xFFFF
        everybody = self.sum(own, "checksums")
        differ = (everybody != everybody[:1]).any(axis=(0, 2))
        if differ.any():
            name = list(values)[int(differ.argmax())]
            raise DivergedError(
                f"parameter {name!r} differs between the {self.workers} workers; start them from "
                "the same weights, and prune all of them at the same steps"
            )

    def barrier(self) -> None:
        """Wait for all workers."""
        self.kvstore._barrier()
