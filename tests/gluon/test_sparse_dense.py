"""Sparse products in Gluon: against mx.nd.dot on the dense equivalent, and finite differences."""

import doctest
import gc
import time

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet import autograd, gluon, nd

from gluonzip.errors import DataError, ShapeError
from gluonzip.gluon import SparseDense, csr_ndarray, sparse_dense, sparse_dot
from gluonzip.runtime import SparseMatrix

CHECK = settings(max_examples=25, deadline=None, derandomize=True)


def random_matrix(rng, m, k, density):
    dense = rng.normal(size=(m, k)) * (rng.random((m, k)) < density)
    dense[rng.integers(m), rng.integers(k)] = 1.5  # at least one
    return dense.astype(np.float32)


@CHECK
@given(
    m=st.integers(1, 20), k=st.integers(1, 20), n=st.sampled_from([1, 3, 17, 40]),
    density=st.sampled_from([0.0, 0.2, 1.0]), seed=st.integers(0, 999), hybrid=st.booleans(),
)  # fmt: skip
def test_forward_and_gradients_equal_the_dense_ones(m, k, n, density, seed, hybrid):
    rng = np.random.default_rng(seed)
    dense = random_matrix(rng, m, k, density)
    s = SparseMatrix.from_dense(dense)
    x, weight = nd.array(rng.normal(size=(n, k))), nd.array(dense)
    head = nd.array(rng.normal(size=(n, m)))
    for array in (x, weight):
        array.attach_grad()
    with autograd.record():
        y = nd.dot(x, weight, transpose_b=True)
    y.backward(head)
    want = [y.asnumpy(), x.grad.asnumpy(), weight.grad.asnumpy()[np.nonzero(dense)]]

    layer = SparseDense(s, use_bias=False)
    layer.initialize()
    if hybrid:
        layer.hybridize()
    x.grad[:] = 0
    with autograd.record():
        y = layer(x)
    y.backward(head)
    got = [y.asnumpy(), x.grad.asnumpy(), layer.values.grad().asnumpy()]
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(1)
    s = SparseMatrix.from_dense(random_matrix(rng, 6, 9, 0.3))
    values, x = nd.array(s.values), nd.array(rng.normal(size=(4, 9)))
    head = nd.array(rng.normal(size=(4, 6)))
    for array in (values, x):
        array.attach_grad()
    with autograd.record():
        y = (sparse_dot(values, s, x) * head).sum()
    y.backward()
    for array in (values, x):
        flat = array.asnumpy().reshape(-1)
        for i in range(flat.size):
            ends = []
            for step in (0.5, -0.5):  # the product is linear in each: a wide step loses nothing
                moved = flat.copy()
                moved[i] += step
                moved = nd.array(moved.reshape(array.shape))
                pair = (moved, x) if array is values else (values, moved)
                ends.append((sparse_dot(pair[0], s, pair[1]) * head).sum().asscalar())
            assert abs(ends[0] - ends[1] - array.grad.asnumpy().reshape(-1)[i]) < 1e-3


@pytest.mark.parametrize("request_", ["add", "null"])
def test_gradients_add_up_or_are_left_out(request_):
    s = SparseMatrix.from_dense(np.float32([[0, 2], [1, 0]]))
    values, x = nd.array(s.values), nd.array([[10.0, 20.0]])
    values.attach_grad(request_)
    x.attach_grad()
    for _ in range(2):
        with autograd.record():
            y = sparse_dot(values, s, x)
        y.backward()
    assert x.grad.asnumpy().tolist() == [[1.0, 2.0]]
    if request_ == "add":
        assert values.grad.asnumpy().tolist() == [40.0, 20.0]


@pytest.mark.parametrize("hybrid", [False, True])
def test_trains_in_a_network_and_keeps_its_zeros(tmp_path, hybrid):
    mx.random.seed(0)
    rng = np.random.default_rng(2)

    def network():
        net = gluon.nn.HybridSequential()
        net.add(SparseDense(SparseMatrix.from_dense(weight), activation="relu"))
        net.add(gluon.nn.Dense(1, in_units=16))
        return net

    weight = random_matrix(rng, 16, 12, 0.25)
    net = network()
    net.initialize()
    if hybrid:
        net.hybridize(static_alloc=True)
    x = nd.array(rng.normal(size=(32, 3, 4)))
    target = x.reshape((32, 12)).sum(axis=1, keepdims=True)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    losses = []
    for _ in range(40):
        with autograd.record():
            loss = gluon.loss.L2Loss()(net(x), target).mean()
        loss.backward()
        trainer.step(1)
        losses.append(loss.asscalar())
    assert losses[-1] < losses[0] / 4
    trained = net[0].weight().to_dense()
    assert ((trained != 0) <= (weight != 0)).all()
    assert np.abs(trained - weight).max() > 0.01

    net.save_parameters(str(tmp_path / "net.params"))
    again = network()
    again.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(again(x).asnumpy(), net(x).asnumpy())


@pytest.mark.parametrize("activation", [None, "relu"])
def test_from_dense_and_back(activation):
    layer = gluon.nn.Dense(5, in_units=8, activation=activation, bias_initializer="normal")
    layer.initialize(mx.init.Normal(1))
    weight = layer.weight.data()
    layer.weight.set_data(weight * (weight > 0.5))
    sparse = SparseDense.from_dense(layer)
    x = nd.random.normal(shape=(7, 2, 4))
    want = layer(x).asnumpy()
    np.testing.assert_allclose(sparse(x).asnumpy(), want, rtol=1e-5, atol=1e-5)
    back = sparse.to_dense()
    np.testing.assert_array_equal(back(x).asnumpy(), want)
    assert "values" in repr(sparse)


def test_equal_structures_share_one_and_leave_with_their_matrices():
    dense = np.float32([[0, 2, 0], [1, 0, 3]])
    first, second = SparseMatrix.from_dense(dense), SparseMatrix.from_dense(2 * dense)
    x = nd.ones((1, 3))
    for s in (first, second):
        sparse_dot(nd.array(s.values), s, x).wait_to_read()
    sparse = sparse_dense.sparse_dot.__globals__
    key = sparse["structure_key"](first)
    assert sparse["_of_matrix"][first] is sparse["_of_matrix"][second]
    assert key in sparse["_by_key"]
    del first, second, s
    for _ in range(100):  # MXNet lets go of its operators in its own time
        nd.waitall()
        gc.collect()
        if key not in sparse["_by_key"]:
            break
        time.sleep(0.05)
    assert key not in sparse["_by_key"]


def test_what_it_says_of_bad_operands():
    s = SparseMatrix.from_dense(np.float32([[0, 2], [1, 0]]))
    values = nd.array(s.values)
    for pair, message in [
        ((values, nd.ones((3, 5))), "x is (3, 5), must be (N, 2)"),
        ((nd.ones(7), nd.ones((3, 2))), "values are (7,), the structure has 2"),
        ((values, nd.ones((3, 2), dtype="float64")), "must be float32, not float64"),
    ]:
        with pytest.raises(mx.MXNetError):
            sparse_dot(pair[0], s, pair[1]).wait_to_read()
        with pytest.raises(ShapeError) as said:
            _prop_says(s, *pair)
        assert message in str(said.value)
    with pytest.raises(ShapeError, match="has blocks; use its to_csr"):
        blocks = SparseMatrix.from_dense(np.ones((2, 2), np.float32), block=(1, 2))
        sparse_dot(values, blocks, nd.ones((1, 2)))
    with pytest.raises(DataError, match="has no elements, so that nothing would be computed"):
        SparseDense(SparseMatrix.from_dense(np.zeros((2, 2), np.float32)))
    with pytest.raises(ShapeError, match="must be a float32 SparseMatrix"):
        SparseDense(SparseMatrix.from_dense(np.ones((2, 2), np.int8)))
    with pytest.raises(ShapeError, match=r"must be an nn\.Dense"):
        SparseDense.from_dense(gluon.nn.Conv2D(3, 3))


def _prop_says(s, values, x):
    """MXNet prints what an operator raises and gives an error of its own: ask the operator."""
    module = sparse_dense.sparse_dot.__globals__
    prop = module["_SparseDotProp"](module["structure_key"](s))
    prop.infer_type([values.dtype, x.dtype])
    prop.infer_shape([list(values.shape), list(x.shape)])


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_csr_ndarrays_there_and_back(dtype):
    dense = np.array([[0, 5, 0], [0, 0, 0], [7, 0, -1]], dtype)
    s = SparseMatrix.from_dense(dense)
    array = s.to_mxnet()
    assert (array.stype, array.dtype, array.shape) == ("csr", dtype, (3, 3))
    np.testing.assert_array_equal(array.asnumpy(), dense)
    np.testing.assert_array_equal(SparseMatrix.from_mxnet(array).to_dense(), dense)
    blocks = csr_ndarray(SparseMatrix.from_dense(dense, block=(3, 1)))
    np.testing.assert_array_equal(blocks.asnumpy(), dense)
    empty = SparseMatrix.from_dense(np.zeros((2, 3), dtype)).to_mxnet()
    assert SparseMatrix.from_mxnet(empty).to_dense().tolist() == [[0, 0, 0]] * 2


def test_csr_ndarrays_that_are_malformed_or_none():
    data, begin = nd.ones(2), nd.array([0, 2], dtype="int64")
    array = mx.nd.sparse.csr_matrix((data, nd.array([1, 9], dtype="int64"), begin), shape=(1, 3))
    with pytest.raises(ShapeError, match="row 0 has a value in column 9, the matrix has 3 columns"):
        SparseMatrix.from_mxnet(array)
    with pytest.raises(ShapeError, match="stype 'default', must be a CSRNDArray"):
        SparseMatrix.from_mxnet(nd.ones((2, 2)))
    with pytest.raises(ShapeError, match=r"MXNet has no arrays of shape \(0, 3\)"):
        SparseMatrix.from_dense(np.zeros((0, 3), np.float32)).to_mxnet()


def test_docstrings():
    result = doctest.testmod(sparse_dense)
    assert result.attempted > 0
    assert result.failed == 0
