"""Cached answers: equal to fresh ones, resumable after a kill, and refused when foreign."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import CacheError, ConfigError, DataError, UnsupportedError
from gluonzip.gluon.distill import AttentionLoss, Distiller, Feature
from gluonzip.gluon.distill.cache import AnswerCache

X = np.random.default_rng(0).standard_normal((21, 1, 6, 6)).astype(np.float32)
KEYS = {"teacher": "t" * 40, "data": "d" * 40}


def network(seed):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(3, 3, in_channels=1), nn.Dense(4, in_units=48))
    net.initialize(mx.init.Xavier())
    return net


def test_cached_lessons_are_the_fresh_ones(tmp_path):
    teacher, student = network(1), network(2)
    features = [Feature("0", "0", AttentionLoss())]
    with Distiller(student, teacher, features=features, sample=X) as distiller:
        lessons = distiller.remember(tmp_path / "c", X, batch_size=8)
        rows = np.array([20, 3, 3, 0])
        fresh, cached = distiller.teach(mx.nd.array(X[rows])), lessons[mx.nd.array(rows)]
        assert len(lessons) == 21
        np.testing.assert_allclose(cached.outputs.asnumpy(), fresh.outputs.asnumpy(), rtol=1e-5)
        np.testing.assert_allclose(cached.features[0].asnumpy(), fresh.features[0].asnumpy())
        assert isinstance(lessons.arrays[0], np.memmap)
        assert not lessons.arrays[0].flags.writeable


def test_a_second_time_nothing_is_computed(tmp_path):
    asked = []
    for _ in range(2):
        # The same weights in a network built anew: MXNet's names differ, the key does not.
        distiller = Distiller(network(2), network(1))
        distiller.remember(tmp_path / "c", X, tell=asked.append)
    assert sum(asked) == 21


def test_several_teachers_in_one_cache(tmp_path):
    distiller = Distiller(network(3), [network(1), network(2)])
    lesson = distiller.remember(tmp_path / "c", X)[[1, 2]]
    assert [o.shape for o in lesson.outputs] == [(2, 4), (2, 4)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda teacher, x: teacher[1].bias.set_data(mx.nd.ones(4)), "another teacher"),
        (lambda teacher, x: x.__setitem__((20, 0, 5, 5), 9.0), "another data"),
    ],
)
def test_a_foreign_cache_is_refused(tmp_path, change, what):
    teacher, x = network(1), X.copy()
    Distiller(network(2), teacher).remember(tmp_path / "c", x)
    change(teacher, x)
    with pytest.raises(CacheError, match=f"c was made with {what}.*use another folder, or delete"):
        Distiller(network(2), teacher).remember(tmp_path / "c", x)


def test_the_engine_is_another_teacher(tmp_path):
    teacher = network(1)
    Distiller(network(2), teacher).remember(tmp_path / "c", X)
    engine = Distiller(network(2), teacher, engine="int8", sample=X)
    with pytest.raises(CacheError, match="made with another teacher"):
        engine.remember(tmp_path / "c", X)
    assert len(engine.remember(tmp_path / "int8", X)) == 21


def test_a_callable_needs_a_key(tmp_path):
    teacher = network(1)
    distiller = Distiller(network(2), lambda x: teacher(x))
    with pytest.raises(ConfigError, match="give teacher_key"):
        distiller.remember(tmp_path / "c", X)
    distiller.remember(tmp_path / "c", X, teacher_key="one")
    with pytest.raises(CacheError, match="another teacher"):
        distiller.remember(tmp_path / "c", X, teacher_key="two")


def test_what_else_is_refused(tmp_path):
    distiller = Distiller(network(2), lambda x: [x, x])
    with pytest.raises(UnsupportedError, match="must give one array"):
        distiller.remember(tmp_path / "c", X, teacher_key="k")
    with pytest.raises(DataError, match="must be an array"):
        distiller.remember(tmp_path / "c", [], teacher_key="k")
    distiller = Distiller(network(2), lambda x: x.reshape((len(x), -1)) / 0)
    with pytest.raises(DataError, match="answer for sample 0 is not finite"):
        distiller.remember(tmp_path / "d", X, teacher_key="k")
    with pytest.raises(ConfigError, match="batch_size = 0"):
        distiller.remember(tmp_path / "d", X, teacher_key="k", batch_size=0)


# ---------------------------------------------------------------- on the disk
def squares(first, last):
    return [np.arange(first, last, dtype=np.float32)[:, None] ** 2]


def test_a_broken_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("gluonzip.gluon.distill.cache._COMMIT_SECONDS", -1)

    def breaks(first, last):
        if first >= 12:
            raise KeyboardInterrupt
        return squares(first, last)

    with pytest.raises(KeyboardInterrupt):
        AnswerCache(tmp_path, KEYS, 20).fill(breaks, 4)
    cache = AnswerCache(tmp_path, KEYS, 20)
    assert cache.done == 12
    assert cache.fill(squares, 4) == 8
    np.testing.assert_array_equal(cache[range(20)][0], squares(0, 20)[0])


def test_a_killed_process_leaves_a_sound_cache(tmp_path):
    program = textwrap.dedent(f"""
        import os, signal
        import numpy as np
        import gluonzip.gluon.distill.cache as cache
        cache._COMMIT_SECONDS = -1
        def compute(first, last):
            if first == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            return [np.arange(first, last, dtype=np.float32)[:, None] ** 2]
        cache.AnswerCache({str(tmp_path)!r}, {KEYS!r}, 20).fill(compute, 4)
    """)
    killed = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    cache = AnswerCache(tmp_path, KEYS, 20)
    assert cache.done == 8
    assert cache.fill(squares, 4) == 12
    np.testing.assert_array_equal(cache[range(20)][0], squares(0, 20)[0])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("cache.json", b"{", "cache.json is damaged"),
        ("cache.json", b"[]", "not a mapping"),
        ("answers-0.npy", b"nothing", "answers-0.npy is damaged"),
        ("done.json", b"", "done.json is damaged"),
    ],
)
def test_damage_is_named(tmp_path, file, content, message):
    AnswerCache(tmp_path, KEYS, 20).fill(squares, 4)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(CacheError, match=message):
        AnswerCache(tmp_path, KEYS, 20).fill(squares, 4)


def test_truncated_arrays_and_newer_formats(tmp_path):
    AnswerCache(tmp_path, KEYS, 20).fill(squares, 4)
    path = tmp_path / "answers-0.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CacheError, match="answers-0.npy is damaged"):
        AnswerCache(tmp_path, KEYS, 20).fill(squares, 4)
    header = json.loads((tmp_path / "cache.json").read_text())
    (tmp_path / "cache.json").write_text(json.dumps({**header, "format": 2}))
    with pytest.raises(CacheError, match="format 2 is not 1"):
        AnswerCache(tmp_path, KEYS, 20)


def test_rows_outside_and_other_counts(tmp_path):
    cache = AnswerCache(tmp_path, KEYS, 20)
    with pytest.raises(CacheError, match="not been filled"):
        cache[[0]]
    cache.fill(squares, 7)
    with pytest.raises(CacheError, match="rows 3 to 20 asked for; it has 20"):
        cache[[3, 20]]
    with pytest.raises(CacheError, match="made for 20 samples, not 21"):
        AnswerCache(tmp_path, KEYS, 21)


def test_only_one_process_fills(tmp_path):
    cache, other = (AnswerCache(tmp_path, KEYS, 20) for _ in range(2))

    def meanwhile(first, last):
        with pytest.raises(CacheError, match="being filled by another process"):
            other.fill(squares, 4)
        return squares(first, last)

    assert cache.fill(meanwhile, 20) == 20
