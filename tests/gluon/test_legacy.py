"""import_symbol: old symbol files as networks, equal to SymbolBlock's, and hostile files."""

import json

import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError, ShapeError

mx = pytest.importorskip("mxnet")

from gluonzip.gluon import layers, prune, sparsity  # noqa: E402
from gluonzip.gluon.legacy import import_symbol  # noqa: E402

SHAPE = (2, 3, 8, 8)


@pytest.fixture
def files(tmp_path):
    """What Module.save_checkpoint wrote in its day: named operators and a loss with a label."""
    mx.random.seed(0)  # some draws saturate the softmax, and nothing trains
    data = mx.sym.var("data")
    x = mx.sym.Convolution(data, kernel=(3, 3), num_filter=8, pad=(1, 1), name="conv0")
    x = mx.sym.BatchNorm(x, fix_gamma=True, name="bn0")
    x = mx.sym.LeakyReLU(x, act_type="prelu", name="prelu0")
    y = mx.sym.Convolution(x, kernel=(1, 1), num_filter=8, no_bias=True, name="conv1")
    x = mx.sym.Pooling(x + y, kernel=(1, 1), global_pool=True, pool_type="avg")
    x = mx.sym.FullyConnected(mx.sym.Dropout(x, p=0.4), num_hidden=5, name="fc")
    symbol = mx.sym.SoftmaxOutput(x, name="softmax")
    shapes, _, states = symbol.infer_shape(data=SHAPE)
    arrays = {}
    for name, shape in zip(symbol.list_arguments(), shapes, strict=True):
        if name not in ("data", "softmax_label"):
            arrays[f"arg:{name}"] = mx.nd.random.normal(shape=shape)
    for name, shape in zip(symbol.list_auxiliary_states(), states, strict=True):
        arrays[f"aux:{name}"] = mx.nd.random.uniform(0.5, 1, shape=shape)
    symbol.save(str(tmp_path / "m-symbol.json"))
    mx.nd.save(str(tmp_path / "m-0000.params"), arrays)
    return tmp_path / "m-symbol.json", tmp_path / "m-0000.params"


def symbol_block(files):
    symbol, params = files
    inner = mx.sym.load(str(symbol))
    block = mx.gluon.SymbolBlock(
        inner.get_internals()["softmax_output"], [mx.sym.var("data"), mx.sym.var("softmax_label")]
    )
    block.load_parameters(str(params), ignore_extra=True)
    return block


def test_outputs_equal_symbol_blocks(files):
    x = mx.nd.random.normal(shape=SHAPE)
    expected = symbol_block(files)(x, mx.nd.zeros(2)).asnumpy()
    net = import_symbol(*files, {"data": SHAPE})
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    net.hybridize()
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_parameters_keep_their_names_and_layers_are_real(files, tmp_path):
    net = import_symbol(*files, SHAPE)
    saved = {n.partition(":")[2] for n in mx.nd.load(str(files[1]))}
    assert set(net._collect_params_with_prefix()) == saved
    assert set(net.collect_params().keys()) == saved
    kinds = {name: layer.kind for name, layer in layers(net).items()}
    assert kinds == {"conv0": "Conv2D", "conv1": "Conv2D", "fc": "Dense"}
    net(mx.nd.ones(SHAPE))
    net.load_parameters(str(files[1]))


def test_imported_network_is_prunable_and_trainable(files):
    net = import_symbol(*files, SHAPE)
    prune(net, sparsity=0.5)
    assert sparsity(net)["conv0"] == pytest.approx(0.5, abs=0.01)
    x = mx.nd.random.normal(shape=SHAPE)
    weight = layers(net)["fc"].block.weight
    before = weight.data().asnumpy()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    trainer.step(2)
    assert not np.array_equal(before, weight.data().asnumpy())
    assert sparsity(net)["conv0"] == pytest.approx(0.5, abs=0.01)


def test_missing_files(files, tmp_path):
    with pytest.raises(DataError, match=r"symbol file .*nowhere.json' does not exist"):
        import_symbol(tmp_path / "nowhere.json", files[1], SHAPE)
    with pytest.raises(DataError, match=r"parameter file .*nowhere.params' does not exist"):
        import_symbol(files[0], tmp_path / "nowhere.params", SHAPE)


def test_wrong_inputs(files):
    with pytest.raises(ConfigError, match="no input named image; variables without a parameter: d"):
        import_symbol(*files, {"image": SHAPE})
    with pytest.raises(ConfigError, match="must be a shape or a mapping"):
        import_symbol(*files, 224)
    with pytest.raises(ShapeError, match="does not accept"):
        import_symbol(*files, (2, 7, 8, 8))


def test_missing_parameters(files):
    arrays = mx.nd.load(str(files[1]))
    del arrays["arg:fc_weight"], arrays["aux:bn0_moving_var"]
    mx.nd.save(str(files[1]), arrays)
    with pytest.raises(DataError, match=r"lacks 2 parameters .*: bn0_moving_var, fc_w"):
        import_symbol(*files, SHAPE)


def edit(files, change):
    document = json.loads(files[0].read_text())
    change(document)
    files[0].write_text(json.dumps(document))


HOSTILE = {
    "forward reference": lambda d: d["nodes"][4]["inputs"].append([10**6, 0, 0]),
    "itself": lambda d: d["nodes"][-1]["inputs"].append([len(d["nodes"]) - 1, 0, 0]),
    "negative": lambda d: d["nodes"][4]["inputs"].append([-1, 0, 0]),
    "negative output": lambda d: d["nodes"][4]["inputs"].append([0, -1, 0]),
    "output": lambda d: d.update(heads=[[10**6, 0, 0]]),
    "no outputs": lambda d: d.update(heads=[]),
    "arguments": lambda d: d.update(arg_nodes=[10**6]),
    "no nodes": lambda d: d.pop("nodes"),
    "list": lambda d: d.update(nodes=7),
    "operator": lambda d: d["nodes"][4].update(op="NoSuchOperator"),
    "attribute": lambda d: d["nodes"][3].update(attrs={"kernel": "(((", "num_filter": "-3"}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_symbols(files, change):
    edit(files, change)
    with pytest.raises(DataError, match="symbol"):
        import_symbol(*files, SHAPE)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00\xff", "[" * 100_000])
def test_files_that_are_no_symbols(files, text):
    files[0].write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="is not an MXNet symbol"):
        import_symbol(*files, SHAPE)


@pytest.mark.parametrize("keep", [0, 7, 8, 30, 100, 0.5, -1])
def test_truncated_parameters(files, keep):
    data = files[1].read_bytes()
    files[1].write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match="parameter"):
        import_symbol(*files, SHAPE)


def test_garbage_parameters(files):
    files[1].write_bytes(b"PK\x03\x04" + bytes(1000))
    with pytest.raises(DataError, match="is not an MXNet parameter file"):
        import_symbol(*files, SHAPE)


def test_parameters_that_claim_to_be_huge(files):
    data = bytearray(files[1].read_bytes())
    data[16:24] = (2**60).to_bytes(8, "little")
    files[1].write_bytes(bytes(data))
    with pytest.raises(DataError, match="parameters"):
        import_symbol(*files, SHAPE)
