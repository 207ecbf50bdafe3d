"""A dense layer whose weight is sparse, trained and run without its zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonzip.errors import ShapeError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.sparse import sparse_dot, structure_key
from gluonzip.runtime import SparseMatrix

__all__ = ["SparseDense"]


class SparseDense(mx.gluon.HybridBlock):
    """``nn.Dense`` with a sparse weight: the places are fixed, the values are trained.

    Args:
        weight: float32 (units, in_units), with at least one element; blocks become elements. Its
            values are what ``initialize`` gives.
        use_bias: whether there is a bias, (units,), zero at first.
        activation: as of ``nn.Dense``, or None.

    Input (N, ...) with in_units elements a sample; output (N, units). The parameters ``values``,
    (nnz,), and ``bias`` are saved and loaded like any other, into a layer with the same places.
    Works hybridized. ``export`` and tracing need a dense weight: :meth:`to_dense`.

    Raises:
        ShapeError: the weight is not a float32 SparseMatrix.
        DataError: the weight has no elements.

    >>> layer = SparseDense(SparseMatrix.from_dense(np.float32([[0, 2], [1, 0], [0, 0]])))
    >>> layer.initialize()
    >>> layer(mx.nd.array([[10, 20]])).asnumpy().tolist()
    [[40.0, 10.0, 0.0]]
    """

    def __init__(
        self,
        weight: SparseMatrix,
        *,
        use_bias: bool = True,
        activation: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(weight, SparseMatrix) or weight.dtype != np.float32:
            raise ShapeError(f"SparseDense: weight is {weight!r}, must be a float32 SparseMatrix")
        self.structure = weight.to_csr()
        structure_key(self.structure)  # refuses what no product can be made of
        units = self.structure.shape[0]
        with self.name_scope():
            self.values = self.params.get(
                "values", shape=(self.structure.nnz,), init=_Values(self.structure.values)
            )
            self.bias = self.params.get("bias", shape=(units,), init="zeros") if use_bias else None
            self.act = mx.gluon.nn.Activation(activation) if activation else None

    @classmethod
    def from_dense(cls, layer: Any, **kwargs: Any) -> SparseDense:
        """The sparse form of an initialized ``nn.Dense``, whose zeros are left out.

        Raises:
            ShapeError: not an ``nn.Dense`` that flattens.
            DataError: its weight is all zero, or not finite.
        """
        if not isinstance(layer, mx.gluon.nn.Dense) or not layer._flatten:
            raise ShapeError(f"SparseDense.from_dense: {layer!r} must be an nn.Dense(flatten=True)")
        weight = SparseMatrix.from_dense(view(layer.weight.data()))
        activation = layer.act._act_type if layer.act is not None else None
        made = cls(weight, use_bias=layer.bias is not None, activation=activation, **kwargs)
        made.initialize(ctx=layer.weight.list_ctx())
        if layer.bias is not None:
            made.bias.set_data(layer.bias.data())
        return made

    def weight(self) -> SparseMatrix:
        """The weight as it is now."""
        return self.structure.with_values(view(self.values.data()))

    def to_dense(self) -> Any:
        """An ``nn.Dense`` with the same numbers, zeros and all, for export, trace and compress."""
        units, width = self.structure.shape
        activation = self.act._act_type if self.act is not None else None
        layer = mx.gluon.nn.Dense(
            units, in_units=width, use_bias=self.bias is not None, activation=activation
        )
        layer.initialize(ctx=self.values.list_ctx())
        layer.weight.set_data(mx.nd.array(self.weight().to_dense()))
        if self.bias is not None:
            layer.bias.set_data(self.bias.data())
        return layer

    def hybrid_forward(self, F, x, values, bias=None):
        """(N, units) from (N, ...)."""
        y = sparse_dot(values, self.structure, F.flatten(x))
        if bias is not None:
            y = F.broadcast_add(y, F.expand_dims(bias, axis=0))
        return y if self.act is None else self.act(y)

    def __repr__(self) -> str:
        units, width = self.structure.shape
        share = self.structure.density
        return f"SparseDense({width} -> {units}, {self.structure.nnz} values, {share:.1%} of dense)"


@mx.init.register
class _Values(mx.init.Initializer):
    """The values that a layer was made with."""

    def __init__(self, values: Any):
        super().__init__()
        self._values = values

    def _init_weight(self, name: Any, array: Any) -> None:
        array[:] = mx.nd.array(self._values)

    _init_default = _init_weight
