"""The quantizers of the C++ extension library against the composition of built-in operators."""

import json
import subprocess
import sys
import warnings

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet.gluon import nn

from gluonzip.errors import UnsupportedError
from gluonzip.gluon import extension, load_extension, prune, quantize, trace
from gluonzip.gluon.extension import build, operators
from gluonzip.gluon.fake_quantize import fake_quantize
from gluonzip.gluon.learned_scale import LearnedScale
from gluonzip.gluon.precision import in_float32
from gluonzip.gluon.weight_schemes import quantize_weight
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

rng = np.random.default_rng(4)


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    assert load_extension(required=True)
    yield
    operators._loaded = False


class Quantizer(mx.gluon.HybridBlock):
    """Two quantizers of x, so that its gradients add up."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def hybrid_forward(self, F, x, *scale):
        return self.quantizer(F, x, *scale) + self.quantizer(F, F.relu(x), scale[0] * 2, *scale[1:])


def run(quantizer, x, scales, upstream, hybrid, grad_req="write"):
    """Output, gradient of x, gradient of what the scale is made of."""
    block = Quantizer(quantizer)
    if hybrid:
        block.hybridize(static_alloc=hybrid == "static")
    x, *scales = map(mx.nd.array, (x, *scales))
    for array in (x, *scales):
        array.attach_grad(grad_req)
        array.grad[:] = 1
    # A Compressed layer says that a network quantizes; this block is none.
    with operators.in_symbols(), mx.autograd.record():
        y = block(x, *scales)
    y.backward(mx.nd.array(upstream))
    return y.asnumpy(), x.grad.asnumpy(), scales[-1].grad.asnumpy()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    axis=st.none() | st.integers(-4, 3),
    bits=st.integers(2, 8),
    inside=st.booleans(),
    learned=st.booleans(),
    hybrid=st.sampled_from(["", "yes", "static"]),
    grad_req=st.sampled_from(["write", "add"]),
    seed=st.integers(0, 99),
)
def test_equal_to_the_composition(shape, axis, bits, inside, learned, hybrid, grad_req, seed):
    random = np.random.default_rng(seed)
    if axis is not None:
        axis = axis % len(shape) - (len(shape) if axis < 0 else 0)
    along = [n if axis is not None and i == axis % len(shape) else 1 for i, n in enumerate(shape)]
    scale = random.uniform(0.01, 0.1, [1] if axis is None else along).astype("float32")
    x = random.standard_normal(shape).astype("float32") * 3
    if shape[0] > 1:
        x[0] = 0
        x[1] = np.float32(2.5) * scale.ravel()[0]  # a tie
    upstream = random.standard_normal(shape).astype("float32")

    growth = random.uniform(-0.5, 0.5, scale.shape).astype("float32")
    count = None if axis is None else float(x.size / scale.size)

    def quantizer(F, x, scale, growth=None):
        scale = LearnedScale(scale, growth, count) if learned else scale
        return in_float32(F, x, "float32", lambda x: fake_quantize(F, x, scale, bits, axis, inside))

    scales = [scale, growth] if learned else [scale]
    arguments = (quantizer, x, scales, upstream, hybrid, grad_req)
    ours = run(*arguments)
    with operators.unused():
        expected = run(*arguments)
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_array_equal(ours[1], expected[1])
    # Sums in another order.
    size = 1 + np.abs(upstream).sum() * 2**bits / scale.min() if learned else 1
    np.testing.assert_allclose(ours[2], expected[2], rtol=1e-4, atol=1e-6 * size)
    assert learned or (ours[2] == (1 if grad_req == "add" else 0)).all()


@pytest.mark.parametrize("granularity", [None, PerChannel(0), PerChannel(-1)])
@pytest.mark.parametrize("special", ["", "zeros", "subnormal", "large"])
def test_scales_of_weights_are_equal(granularity, special):
    w = rng.standard_normal((7, 5, 3, 3)).astype("float32")
    w[2] = 0
    w = {"zeros": w * 0, "subnormal": w * 1e-40, "large": w * 1e30}.get(special, w)
    what = WeightQuantization(4, **({"granularity": granularity} if granularity else {}))
    found = []
    for own in (True, False):
        x = mx.nd.array(w, dtype="float32")
        x.attach_grad()
        with mx.autograd.record():
            if own:
                y = quantize_weight(mx.nd, x, what, x.shape, 0)
            else:
                with operators.unused():
                    y = quantize_weight(mx.nd, x, what, x.shape, 0)
        y.backward()
        found.append((y.asnumpy(), x.grad.asnumpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_are_cast(dtype):
    x, one = mx.nd.array([0.5, 300], dtype=dtype), mx.nd.array([1])
    assert not operators.suits(mx.nd, x)
    y = in_float32(mx.nd, x, dtype, lambda x: fake_quantize(mx.nd, x, one, 8))
    assert y.asnumpy().tolist() == [0, 127]
    assert y.dtype == np.dtype(dtype)


def test_scales_that_do_not_fit_are_an_error():
    x, scales = mx.nd.ones((2, 3)), mx.nd.ones((2, 2))
    with pytest.raises(mx.MXNetError, match="4 scales for 1 groups of values"):
        fake_quantize(mx.nd, x, scales, 8).wait_to_read()


def network():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 3, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2DTranspose(4, 3),
        nn.Dense(16, activation="relu"),
        nn.Dense(4),
    )
    net.initialize(mx.init.Xavier(magnitude=3))
    net(mx.nd.zeros((2, 1, 8, 8)))
    return net


def trained(x, y, scale, hybrid):
    """Losses and the network after a few steps of training."""
    net = network()
    prune(net, sparsity=0.4)
    weights = WeightQuantization(4, PerChannel(), "peak" if scale == "observed" else scale)
    quantize(net, weights=weights, activations=ActivationQuantization(scale=scale), data=[x])
    if hybrid:
        net.hybridize(static_alloc=True)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.02})
    loss_of, losses = mx.gluon.loss.SoftmaxCrossEntropyLoss(), []
    for _ in range(4):
        with mx.autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(len(x))
        losses.append(float(loss.mean().asscalar()))
    return losses, net


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_a_network_trains_the_same(hybrid, scale, tmp_path):
    x = mx.nd.array(rng.standard_normal((12, 1, 8, 8)))
    y = mx.nd.array(rng.integers(0, 4, 12))
    losses, net = trained(x, y, scale, hybrid)
    with operators.unused():
        expected, other = trained(x, y, scale, hybrid)
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    assert losses[-1] < losses[0]
    # The same weights give the same answer to the bit, and the same graph.
    for mine, theirs in zip(
        net._collect_params_with_prefix().values(),
        other._collect_params_with_prefix().values(),
        strict=True,
    ):
        theirs.set_data(mine.data())
    answer = net(x).asnumpy()
    with operators.unused():
        np.testing.assert_array_equal(other(x).asnumpy(), answer)
    assert {n.op for n in trace(net, (1, 1, 8, 8)).nodes} >= {"fake_quantize", "conv2d"}
    if hybrid:
        net.export(str(tmp_path / "net"))
        document = json.loads((tmp_path / "net-symbol.json").read_text())
        assert not [n for n in document["nodes"] if "gluonzip" in n["op"]]
        mx.nd.save(str(tmp_path / "x"), [x])
        loaded = _load_elsewhere(tmp_path)
        np.testing.assert_array_equal(loaded, answer)


def _load_elsewhere(folder):
    """The exported network's answer, by a process that knows MXNet alone."""
    code = (
        "import mxnet as mx, sys, numpy as np\n"
        "net = mx.gluon.SymbolBlock.imports('net-symbol.json', ['data'], 'net-0000.params')\n"
        "np.save('y.npy', net(mx.nd.load('x')[0]).asnumpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return np.load(folder / "y.npy")


def test_hybridized_networks_run_the_operators():
    net = network()
    x = mx.nd.ones((2, 1, 8, 8))
    quantize(net, data=[x])
    net.hybridize()
    seen = []
    net.register_op_hook(lambda name, *_: seen.append(str(name)), monitor_all=True)
    net(x).wait_to_read()
    assert any("gluonzip_fake_quantize" in name for name in seen)
    assert "gluonzip" not in net._cached_graph[1].tojson()


# ---------------------------------------------------------------- building
@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(operators, "_loaded", False)
    return tmp_path / "cache"


def test_without_a_compiler_it_says_so_and_falls_back(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.warns(UserWarning, match=r"stay compositions.*slower.*CXX = 'no-such-compiler"):
        assert load_extension() is False
    with pytest.raises(UnsupportedError, match="no C\\+\\+ compiler is there"):
        load_extension(required=True)
    assert not operators.suits(mx.nd, mx.nd.zeros(3))


def test_a_compiler_that_fails(empty_cache, tmp_path, monkeypatch):
    fake = tmp_path / "c++"
    fake.write_text("#!/bin/sh\necho 'op.cc:1: fatal error: no luck' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("CXX", str(fake))
    with pytest.raises(UnsupportedError, match="failed: op.cc:1: fatal error: no luck"):
        build.library()
    assert list(empty_cache.iterdir()) == []  # nothing half-made stays


def test_headers_that_are_missing(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(mx, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(UnsupportedError, match=r"came without .*lib_api\.h"):
        build.library()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UnsupportedError, match="set GLUONZIP_CACHE"):
        build.library()


def test_a_damaged_library_is_named(empty_cache, monkeypatch):
    path = empty_cache / "quantizers-0.so"
    monkeypatch.setattr(operators, "library", lambda: path)
    monkeypatch.delattr(mx.nd, "gluonzip_fake_quantize")
    empty_cache.mkdir()
    path.write_bytes(b"not a library")
    with pytest.raises(UnsupportedError, match=r"does not load .*quantizers-0\.so .*delete it"):
        load_extension(required=True)


def test_it_is_built_once(empty_cache, tmp_path, monkeypatch):
    fake = tmp_path / "c++"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\necho >> calls\n'
        'for last; do :; done\necho made > "$last"\n'
    )
    fake.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXX", str(fake))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build.library() == build.library()
    assert (tmp_path / "calls").read_text() == "\n"
    assert extension.__doc__
