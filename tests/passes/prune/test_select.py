"""How many channels go, which, and what stays and why."""

import numpy as np
import prune_graphs as nets
import pytest

from gluonzip.errors import ConfigError, PatternError
from gluonzip.passes.prune import find_groups, score, select, shrink
from gluonzip.passes.prune.propagation import tensor_types


def widths(graph):
    """Output channels of every convolution and dense layer."""
    types = tensor_types(graph)
    return {n.name: types[n.inputs[1]].shape[0] for n in graph.nodes if n.op in ("conv2d", "dense")}


def pruned(build, **options):
    small, record = shrink(select(build(), **options))
    return widths(small), record


def two_layers(a, b):
    net = nets.Net()
    x = net.conv(net.conv("data", 3, a, "a"), a, b, "b")
    return net.done(net.conv(x, b, 5, "out"))


@pytest.mark.parametrize(
    ("channels", "ratio", "round_to", "minimum", "left"),
    [
        (64, 0.3, 8, 1, 48),  # 44.8: the nearest multiple is 48
        (64, 0.5, 8, 1, 32),
        (64, 0.3, 1, 1, 45),
        (64, 0.99, 8, 1, 8),
        (64, 0.99, 1, 1, 1),
        (64, 0.9, 1, 12, 12),
        (64, 0.9, 8, 12, 16),
        (8, 0.5, 8, 1, 8),
        (6, 0.5, 8, 1, 6),
        (20, 0.3, 8, 1, 16),
        (64, 0.0, 8, 1, 64),
        (61, 0.0, 8, 1, 61),
    ],
)
def test_what_is_left(channels, ratio, round_to, minimum, left):
    build = lambda: two_layers(channels, 8)  # noqa: E731
    found, _ = pruned(build, ratio=ratio, round_to=round_to, minimum=minimum)
    assert found["a"] == left
    assert found["out"] == 5


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("build", nets.TOPOLOGIES, ids=lambda f: f.__name__)
def test_no_layer_is_pruned_to_nothing(build, ratio, scope):
    found, _ = pruned(build, ratio=ratio, scope=scope, round_to=1)
    assert min(found.values()) >= 1
    assert found["out"] == 5


# Parts of 2, 12, 2 and 16 channels, and 8 classes of 3, have no multiples of 8 to choose from.
UNEVEN = (nets.split_halves, nets.shuffle, nets.shuffle_with_lengths)


@pytest.mark.parametrize(
    "build", [f for f in nets.TOPOLOGIES if f not in UNEVEN], ids=lambda f: f.__name__
)
def test_layers_of_eights_stay_layers_of_eights(build):
    before = widths(build())
    found, _ = pruned(build, ratio=0.4, round_to=8)
    assert all(found[n] % 8 == 0 or found[n] == before[n] for n in before if before[n] % 8 == 0)


def test_the_least_important_go():
    graph = two_layers(32, 16)
    found = find_groups(graph)
    scores = score(found, "l2")
    selection = select(found, ratio=0.5, scorer="l2")
    classes = found.layers["a"]
    gone = np.isin(classes, selection.removed)
    values = np.array([scores[c] for c in classes.tolist()])
    assert gone.sum() == 16
    assert values[gone].max() <= values[~gone].min()


def test_global_scope_takes_more_where_scores_are_lower():
    graph = two_layers(64, 64)
    weights = graph.constants["a.weight"].data
    weights[:40] *= 1e-3  # most of a is worthless, b is even
    selection = select(graph, ratio=0.3, scope="global", round_to=1)
    _, record = shrink(selection)
    assert len(record.removed["a"]) + len(record.removed.get("b", [])) == round(0.3 * 128)
    assert set(record.removed["a"]) <= set(range(40))
    assert len(record.removed["a"]) > 30


def test_concat_parts_are_groups_of_their_own():
    found = find_groups(nets.concatenated())
    layers = sorted(sorted(g.layers) for g in found.groups)
    # Group a is 8 channels of c, group b 16; the 3 of the image in between stay.
    assert layers == [["a", "c"], ["b", "c"]]
    assert sorted(map(len, found.groups)) == [8, 16]
    assert found.unprunable["c"].startswith("3 of 27 channels: ")


def test_depthwise_channels_go_with_their_input():
    found = find_groups(nets.depthwise())
    channels = {tuple(sorted(g.channels.items())) for g in found.groups}
    assert channels == {(("a", 1), ("dw", 2)), (("b", 1), ("dw2", 1))}


def test_whole_groups_or_the_same_positions():
    (many,) = find_groups(nets.many_groups()).groups
    assert many.channels == {"a": 2, "grouped": 4}
    assert len(many) == 16
    few = {tuple(g.channels.items()): len(g) for g in find_groups(nets.few_groups()).groups}
    assert few == {(("a", 2),): 8, (("grouped", 2),): 12}


def test_rounding_counts_channels_not_classes():
    found, _ = pruned(nets.many_groups, ratio=0.45, round_to=8)
    # 16 classes of 2 and 4 channels; 9 would stay; both widths divide by 8 at 8 classes
    assert (found["a"], found["grouped"]) == (16, 32)


def test_without_a_smaller_multiple_what_stays_is_wide_enough():
    # 8 classes of 3: only all of them would be a multiple of 8.
    found, _ = pruned(nets.shuffle, ratio=0.3)
    assert found["a"] == 18


def test_shuffle_couples_rows_of_groups():
    (group,) = [g for g in find_groups(nets.shuffle()).groups if "a" in g.layers]
    assert group.channels == {"a": 3}
    assert len(group) == 8


REASONS = {
    "output": (lambda net, x: x, "its channels are an output of the network"),
    "softmax": (lambda net, x: net.op("softmax", x, name="s", axis=1), "softmax s runs over it"),
    "layer_norm": (
        lambda net, x: net.op(
            "layer_norm", x, net.const("g", 8), net.const("h", 8), name="ln", axis=1
        ),
        "layer_norm ln normalizes over it",
    ),
    "sum over channels": (
        lambda net, x: net.op("sum", x, name="s", axes=[1]),
        "sum s runs over it",
    ),
    "joined with the image": (
        lambda net, x: net.op(
            "add", x, net.op("concat", "data", "data", "data2", axis=1), name="p"
        ),
        "add p joins it with channels that must stay",
    ),
    "opaque": (
        lambda net, x: net.op("opaque", x, name="o", operator="_contrib_Thing", attrs={}),
        "operator _contrib_Thing (o) is not in the op table",
    ),
    "broadcast": (
        lambda net, x: net.op("add", net.conv(x, 8, 1, "one"), "data", name="p"),
        None,
    ),
}


@pytest.mark.parametrize("case", REASONS.values(), ids=REASONS)
def test_reasons(case):
    build, reason = case
    net = nets.Net((1, 3, 8, 8))
    net.graph.inputs.append(nets.Input("data2", (1, 2, 8, 8)))
    y = build(net, net.conv("data", 3, 8, "a"))
    found = find_groups(net.done(y))
    if reason is None:  # the one channel that is broadcast stays, those before it may go
        assert found.unprunable == {"one": "add p broadcasts it"}
        return
    assert found.unprunable["a"] == reason
    assert found.groups == []


def test_what_lies_behind_an_opaque_operator_stays():
    net = nets.Net()
    x = net.conv("data", 3, 8, "a")
    x = net.conv(net.conv(x, 8, 16, "b"), 16, 8, "c")
    x = net.op("opaque", x, name="o", operator="_contrib_Thing", attrs={})
    x = net.conv(net.conv(x, 8, 16, "d"), 16, 8, "e")
    graph = net.done(x)
    small, record = shrink(select(graph, ratio=0.5))
    assert widths(small) == {"a": 8, "b": 8, "c": 8, "d": 16, "e": 8}
    assert "not in the op table" in record.untouched["c"]
    assert [x.macs for x in record.layers if x.name in ("d", "e")] == [None, None]


def test_skip_keeps_layers_and_what_goes_with_them():
    before = widths(nets.residual())
    found, record = pruned(nets.residual, ratio=0.5, skip=["stem"], round_to=1)
    assert {n for n in before if found[n] < before[n]} == {"a"}
    assert record.untouched["b"] == "skip keeps stem whole"
    found, _ = pruned(nets.residual, ratio=0.5, skip="?", round_to=1)
    assert found == before


def test_narrow_layers_say_so():
    _, record = pruned(lambda: two_layers(6, 64), ratio=0.5)
    assert record.untouched["a"] == "too narrow for round_to=8, minimum=1"


def test_bn_scale_leaves_layers_without_batch_norm():
    _, record = pruned(nets.chain, ratio=0.5, scorer="bn_scale")
    assert set(record.removed) == {"a"}
    assert record.untouched["b"] == "the scorer has no score for it (bn_scale needs a batch norm)"


def test_bad_arguments():
    graph = two_layers(8, 8)
    for ratio in (1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"ratio = .* is not in \[0, 1\)"):
            select(graph, ratio=ratio)
    with pytest.raises(ConfigError, match="scope 'all' is unknown; use one of"):
        select(graph, scope="all")
    with pytest.raises(ConfigError, match="round_to = 0 must be an integer of at least 1"):
        select(graph, round_to=0)
    with pytest.raises(ConfigError, match=r"minimum = 1\.5 must be an integer"):
        select(graph, minimum=1.5)
    with pytest.raises(PatternError, match="'head' matches no layer; layers: a, b, out"):
        select(graph, skip=["head"])
