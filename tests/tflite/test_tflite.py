"""TFLite files, run by LiteRT in its own environment, against the interpreter."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from op_cases import CASES, IDS, build
from prune_graphs import TOPOLOGIES

from gluonzip.errors import DataError, UnsupportedError
from gluonzip.graph import OPS, Graph, Input, Node, infer_types, interpret
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.quantize import sum_ranges
from gluonzip.spec import PerChannel, WeightQuantization

pytest.importorskip("tflite")

from gluonzip.tflite import write
from gluonzip.tflite.emit import EMITTERS, NOT_EMITTED
from gluonzip.tflite.verify import run_many

NOT_HERE = {
    "adaptive_avg_pool": "cells of unequal size",
    "resize_bilinear": "one cell is taken from elsewhere",
    "dense": "of four axes",
}


@dataclass
class Job:
    """A file to run: ``graph`` is what the user has, ``says`` what the file says."""

    path: Path
    graph: Graph
    says: Graph
    inputs: dict
    ranges: dict | None = None


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Outputs of every case and network, or the error that declined it; LiteRT starts once."""
    folder = tmp_path_factory.mktemp("tflite")
    jobs = {}
    for name, case in zip(IDS, CASES, strict=True):
        graph, arrays = build(case)
        jobs[name] = made(folder / f"{name}.tflite", graph, arrays)
    for make in TOPOLOGIES:
        for kind in ("fp32", "int8"):
            name = f"{make.__name__}-{kind}"
            graph, x, ranges = network(make, kind == "int8")
            inputs = {graph.inputs[0].name: x}
            jobs[name] = made(folder / f"{name}.tflite", graph, inputs, ranges)
    good = {name: job for name, job in jobs.items() if isinstance(job, Job)}
    found = run_many([(job.path, job.graph, job.inputs) for job in good.values()])
    if found is None:
        return None
    return {**jobs, **{k: (good[k], out) for k, out in zip(good, found, strict=True)}}


def made(path, graph, inputs, ranges=None):
    try:
        says = write(path, graph, ranges)
    except UnsupportedError as error:
        assert not path.exists()
        return error
    return Job(path, graph, says, inputs, ranges)


def network(make, integer):
    graph = make()
    rng = np.random.default_rng(0)
    shape = (1, *graph.inputs[0].shape[1:])
    x = rng.integers(0, 9, shape) if make.__name__ == "sequence" else rng.normal(size=shape)
    x = x.astype(np.float32)
    if not integer:
        return graph, x, None
    graph = quantize_graph(graph, [x], WeightQuantization(8, PerChannel()))
    return graph, x, sum_ranges(optimize(graph), [x])


def answer(answers, name):
    if answers is None:
        pytest.skip("ai-edge-litert is not installed; set GLUONZIP_LITERT")
    return answers[name]


def test_every_operator_has_an_emitter_or_a_reason():
    assert set(EMITTERS) | set(NOT_EMITTED) == set(OPS)
    assert not set(EMITTERS) & set(NOT_EMITTED)
    assert all(NOT_EMITTED.values())


@pytest.mark.parametrize(("name", "case"), list(zip(IDS, CASES, strict=True)), ids=IDS)
def test_every_operator(answers, name, case):
    found = answer(answers, name)
    graph, arrays = build(case)
    declined = sorted({node.op for node in optimize(graph).nodes} & set(NOT_EMITTED))
    reasons = [NOT_EMITTED[op] for op in declined]
    if isinstance(found, UnsupportedError):
        reasons = reasons or [NOT_HERE.get(case[0], "?")]
        assert any(reason in str(found) for reason in reasons), found
        return
    assert not declined
    for wanted, got in zip(interpret(graph, arrays), found[1], strict=True):
        assert got.size == wanted.size
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=2e-5, atol=3e-5)


@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_networks(answers, make, kind):
    found = answer(answers, f"{make.__name__}-{kind}")
    if make.__name__ == "deconvolution":
        assert "conv_transpose2d" in str(found)
        return
    job, got = found
    # Rounding layers that answered in float32 (ranges) costs more, before a softmax much more.
    bounds = (0.25, 0.04) if kind == "int8" else (1e-5, 1e-5)
    for oracle, bound in zip((job.graph, job.says), bounds, strict=True):
        for a, b in zip(interpret(oracle, job.inputs), got, strict=True):
            assert np.abs(a.reshape(b.shape) - b).max() <= bound * np.abs(a).max()
    if job.ranges:
        types = infer_types(job.says)
        layers = [n for n in job.says.nodes if n.op in ("conv2d", "dense")]
        assert all(types[n.output].holds_codes for n in layers)


def test_weights_are_bytes(tmp_path):
    graph = TOPOLOGIES[0]()
    write(tmp_path / "a.tflite", graph)
    quantized, _, ranges = network(TOPOLOGIES[0], True)
    write(tmp_path / "b.tflite", quantized, ranges)
    sizes = [os.path.getsize(tmp_path / name) for name in ("a.tflite", "b.tflite")]
    assert sizes[1] < 0.5 * sizes[0]


def test_what_cannot_be_written(tmp_path):
    node = Node("opaque", "boxes", ["x"], ["y"], {"operator": "box_nms", "attrs": {}})
    graph = Graph([Input("x", (0, 4))], ["y"], [node], {})
    with pytest.raises(UnsupportedError, match=r"nothing was written:\n  - 'boxes' \(box_nms\)"):
        write(tmp_path / "x.tflite", graph)
    with pytest.raises(DataError, match=r"nowhere/x.tflite' cannot be written: No such file"):
        write(tmp_path / "nowhere" / "x.tflite", TOPOLOGIES[0]())
    assert list(tmp_path.iterdir()) == []
