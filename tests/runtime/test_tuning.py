"""Tuning changes how work is cut, never results; what it found is kept, shared and forgivable."""

from __future__ import annotations

import json

import numpy as np
import pytest
from engine_graphs import floats, image, lenet, weight

from gluonzip import archive
from gluonzip.errors import ConfigError
from gluonzip.graph import Graph, Input, Node
from gluonzip.runtime import Engine
from gluonzip.runtime.tuning import ChoiceCache, cache_folder

BLOCK = (2, 64, 12, 10)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def block(rng) -> Graph:
    """A wide convolution (several panels), a depthwise one, one of several groups."""
    nodes = [
        Node("quantize", "q", ["x"], ["qx"], {"scale": 0.02}),
        Node("conv2d", "wide", ["qx", "w0", "b"], ["y0"],
             {"pad": [1, 1, 1, 1], "out_scale": 0.03, "act": "relu"}),
        Node("conv2d", "deep", ["y0", "w1"], ["y1"],
             {"groups": 200, "pad": [1, 1, 1, 1], "out_scale": 0.03}),
        Node("conv2d", "grouped", ["y1", "w2"], ["y2"], {"groups": 2}),
    ]  # fmt: skip
    constants = {
        "w0": weight(rng, 200, 64, 3, 3, quantized=True), "b": floats(rng, 200),
        "w1": weight(rng, 200, 1, 3, 3, quantized=True),
        "w2": weight(rng, 40, 100, 1, 1, quantized=True),
    }  # fmt: skip
    return Graph([Input("x", (0, *BLOCK[1:]))], ["y2"], nodes, constants, name="block")


def cached_files(folder) -> list:
    return sorted(folder.glob("tuned-*.json"))


@pytest.mark.parametrize("threads", [1, 2])
def test_tuned_outputs_are_the_same_to_the_bit(rng, threads):
    graph, x = block(rng), image(rng, *BLOCK)
    engine = Engine.from_graph(graph, threads=threads)
    before = engine(x)
    choices = engine.tune(x)
    assert len(choices) == 3  # one for each convolution
    np.testing.assert_array_equal(engine(x), before)
    np.testing.assert_array_equal(engine.clone(threads)(x), before)


@pytest.mark.parametrize("way", ["1x1", "2x1", "1x2", "2x2", "2x2 panels outside", "4x2", "1x4"])
def test_every_way_gives_the_same(rng, way, cache):
    graph, x = block(rng), image(rng, *BLOCK)
    engine = Engine.from_graph(graph, threads=2)
    before, signatures = engine(x), engine.tune(x)
    files = cached_files(cache)
    content = json.loads(files[0].read_text())
    content["choices"] = dict.fromkeys(signatures, way)
    files[0].write_text(json.dumps(content))
    forced = Engine.from_graph(graph, threads=2)
    found = forced.tune(x)
    np.testing.assert_array_equal(forced(x), before)
    if way == "1x2":  # a way that the wide layer certainly has: taken over without measuring
        wide = next(signature for signature in found if " 64 64 3 3 " in signature)
        assert found[wide] == way


def test_load_tunes_once_and_the_next_engine_takes_it_over(rng, tmp_path, cache):
    path = tmp_path / "lenet.glz"
    archive.write(path, lenet(quantized=True))
    x = image(rng, 1, 1, 28, 28)
    plain = Engine.load(path, threads=1)(x)
    assert not cache.exists()
    np.testing.assert_array_equal(Engine.load(path, threads=1, tune=True)(x), plain)
    (file,) = cached_files(cache)
    text, time = file.read_text(), file.stat().st_mtime_ns
    np.testing.assert_array_equal(Engine.load(path, threads=1, tune=True)(x), plain)
    assert (file.read_text(), file.stat().st_mtime_ns) == (text, time)  # nothing was measured
    Engine.load(path, threads=2, tune=True)
    assert len(cached_files(cache)) == 2  # another number of threads: another file
    assert not [f for f in cache.iterdir() if f.suffix != ".json"]  # no temporary is left


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"choices": {}}', '{"key": {}, "choices": {"a": 1}}', "\udcff"]
)
def test_a_corrupted_cache_is_ignored_with_a_warning(rng, text):
    graph, x = block(rng), image(rng, *BLOCK)
    engine = Engine.from_graph(graph, threads=1)
    before = engine(x)
    file = ChoiceCache(engine.isa, 1).path
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.warns(UserWarning, match=rf"{file.name}: cached tuning is ignored"):
        choices = engine.tune(x)
    np.testing.assert_array_equal(engine(x), before)
    assert ChoiceCache(engine.isa, 1).load() == choices  # replaced by a sound one


def test_a_folder_that_cannot_be_made_is_a_warning(rng, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="cached"):
        assert Engine.from_graph(block(rng), threads=1).tune(image(rng, *BLOCK))


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("GLUONZIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "gluonzip"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gluonzip"


def test_open_axes_need_arrays(rng):
    graph = block(rng)
    graph.inputs = [Input("x", (0, 64, 0, 0))]
    engine = Engine.from_graph(graph, threads=1)
    with pytest.raises(ConfigError, match=r"input 'x' takes shapes \(0, 64, 0, 0\).*give tune"):
        engine.tune()
    assert engine.tune(image(rng, *BLOCK))
