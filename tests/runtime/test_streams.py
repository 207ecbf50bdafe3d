"""Several calls at once: the same outputs, in order, no more threads than the engine has."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_graphs import image, lenet

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.runtime import Engine
from gluonzip.runtime.streams import Streams, split_threads


@pytest.fixture(scope="module")
def engine():
    return Engine.from_graph(lenet(quantized=True), threads=3)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [image(rng, 1 + i % 3, 1, 28, 28) for i in range(23)]


@pytest.mark.parametrize(("threads", "streams", "parts"), [(5, 2, [3, 2]), (4, 4, [1] * 4),
                                                           (3, 1, [3])])  # fmt: skip
def test_threads_are_divided(threads, streams, parts):
    assert split_threads(threads, streams) == parts


@pytest.mark.parametrize("streams", [0, 4, -1, 1.5, True])
def test_more_streams_than_threads_are_refused(engine, streams):
    with pytest.raises(ConfigError, match=rf"streams = {streams!r} must be.*1 to the 3 thread"):
        engine.streams(streams)


@pytest.mark.parametrize("streams", [1, 2, 3, None])
def test_map_gives_the_engines_outputs_in_order(engine, images, streams):
    wanted = [engine(x) for x in images]
    got = list(engine.map(images, streams))
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_shared(engine):
    streams = engine.streams(3)
    assert [each.threads for each in streams.engines] == [1, 1, 1]
    assert {each.memory()["weights"] for each in streams.engines} == {engine.memory()["weights"]}
    assert repr(streams) == "<3 streams of 'lenet': 1+1+1 threads>"


def test_calls_from_more_python_threads_than_streams(engine, images):
    streams = engine.streams(2)
    wanted = [engine(x) for x in images]
    with ThreadPoolExecutor(7) as pool:
        got = list(pool.map(streams, images * 5))
    for a, b in zip(got, wanted * 5, strict=True):
        np.testing.assert_array_equal(a, b)


def test_calls_are_under_way_at_once_and_no_more_than_there_are_streams(engine):
    """Engines that wait instead of computing: how many are inside at the same time?"""
    streams = engine.streams(2)
    inside, most, lock, both = 0, 0, threading.Lock(), threading.Barrier(2, timeout=10)

    def wait(*_):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        both.wait()  # only passes while two are inside
        with lock:
            inside -= 1
        return np.zeros(1)

    for _ in streams.engines:
        streams._idle.get()
    for _ in range(2):
        streams._idle.put(wait)
    assert len(list(streams.map([np.zeros(1)] * 8))) == 8
    assert most == 2


def test_map_takes_only_a_few_inputs_ahead(engine, images):
    taken = 0

    def source():
        nonlocal taken
        for x in images:
            taken += 1
            yield x

    results = engine.map(source(), 2)
    next(results)
    assert taken <= 4
    results.close()  # a consumer may stop early
    assert taken <= 4


def test_errors_come_in_their_turn_and_leave_the_streams_usable(engine, images):
    streams = engine.streams(2)
    results = streams.map([images[0], images[1][:, :, :5], images[2]])
    assert next(results).shape == (1, 10)
    with pytest.raises(ShapeError, match="input 'data'"):
        next(results)
    np.testing.assert_array_equal(streams(images[0]), engine(images[0]))


def test_the_gil_is_free_while_a_stream_computes():
    """A Python thread counts while another is inside the engine."""
    engine = Engine.from_graph(lenet(quantized=True), threads=1)
    big = np.zeros((600, 1, 28, 28), np.float32)
    streams, counts, done = Streams(engine, 1), [0], threading.Event()

    def count():
        while not done.is_set():
            counts[0] += 1
            time.sleep(0)

    counter = threading.Thread(target=count)
    counter.start()
    before = counts[0]
    streams(big)
    seen = counts[0] - before
    done.set()
    counter.join()
    assert seen > 10
