"""layers(net) and how layers are chosen."""

import mxnet as mx
import pytest
from mxnet.gluon import nn, rnn

from gluonzip.errors import PatternError
from gluonzip.gluon import layers, select


@pytest.fixture(scope="module")
def net():
    block = mx.gluon.model_zoo.vision.resnet18_v1(classes=5)
    block.initialize()
    return block


def test_layers_lists_every_weighted_block(net):
    found = layers(net)
    assert len(found) == 21
    assert found["features.0"].kind == "Conv2D"
    assert found["output"].kind == "Dense"
    assert found["output"].size == 5 * 512
    assert next(iter(found)) == "features.0"
    assert list(found)[-1] == "output"


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (None, 21),
        ("output", 1),
        ("features.4.*", 4),
        (nn.Dense, 1),
        (nn.Conv2D, 20),
        (lambda layer: layer.size > 10**6, 4),
        (["output", "features.0"], 2),
        ((nn.Dense, "features.5.*", lambda layer: layer.name == "features.0"), 7),
    ],
)
def test_selection(net, selection, count):
    assert len(select(net, selection)) == count


def test_unmatched_name_lists_near_ones(net):
    with pytest.raises(PatternError, match=r"'feature.0' matches nothing; near names: features.0"):
        select(net, ["output", "feature.0"])


def test_unmatched_type_lists_the_types_there(net):
    with pytest.raises(PatternError, match=r"Embedding matches nothing; .* Conv2D, Dense"):
        select(net, nn.Embedding)


def test_unmatched_predicate(net):
    def huge(layer):
        return layer.size > 10**9

    with pytest.raises(PatternError, match="huge matches nothing"):
        select(net, huge)


def test_not_a_pattern(net):
    with pytest.raises(PatternError, match="layers = 3 is not a name"):
        select(net, 3)
    with pytest.raises(PatternError, match="pattern 3 is not a name"):
        select(net, [3])


def test_network_without_weights():
    with pytest.raises(PatternError, match="no weighted layers"):
        select(nn.Activation("relu"), "*")


def test_obstacles_say_why():
    class Reader(mx.gluon.Block):
        def __init__(self):
            super().__init__()
            self.weight = self.params.get("weight", shape=(3, 3))

        def forward(self, x):
            return mx.nd.dot(x, self.weight.data())

    class Own(nn.Dense):
        def forward(self, x):
            return super().forward(x)

    class Scale(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.weight = self.params.get("weight", shape=(3,))

        def hybrid_forward(self, F, x, weight):
            return F.broadcast_mul(x, weight)

    net = nn.Sequential()
    net.add(Reader(), Own(3, in_units=3), Scale(), nn.Embedding(3, 3, sparse_grad=True))
    net.add(rnn.LSTM(3, input_size=3))
    obstacles = [layer.obstacle for layer in layers(net).values()]
    assert "reads its parameters itself" in obstacles[0]
    assert "overrides forward" in obstacles[1]
    assert "one axis" in obstacles[2]
    assert "row-sparse" in obstacles[3]
    assert obstacles[4] == ""
