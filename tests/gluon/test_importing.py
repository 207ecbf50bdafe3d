"""How gluonzip.gluon comes in, and what it says when MXNet does not."""

import subprocess
import sys
import textwrap

import mxnet as mx
import pytest
from mxnet.gluon import nn

from gluonzip.errors import UnsupportedError
from gluonzip.gluon import prune, quantize, trace


def run(code, tmp_path=None):
    prefix = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" if tmp_path else ""
    return subprocess.run(
        [sys.executable, "-c", prefix + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_gluon_is_there_once_it_is_named():
    done = run("""
        import sys, gluonzip
        assert "mxnet" not in sys.modules
        assert callable(gluonzip.gluon.trace)
        assert "mxnet" in sys.modules
        """)
    assert done.returncode == 0, done.stderr


def test_an_attribute_that_is_not_there():
    done = run("import gluonzip; gluonzip.gluten")
    assert "AttributeError: module 'gluonzip' has no attribute 'gluten'" in done.stderr


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ModuleNotFoundError(\"No module named 'mxnet'\", name='mxnet')", "not installed"),
        ("import numpy; numpy.this_is_gone", "numpy<1.24"),
        ("raise OSError('libgomp.so.1: cannot open shared object file')", "OSError: libgomp.so.1"),
    ],
)
def test_an_mxnet_that_does_not_import(tmp_path, body, message):
    (tmp_path / "mxnet.py").write_text(body)
    done = run("import gluonzip.gluon", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gluonzip.errors.MissingDependencyError:")
    assert message in last
    assert "pip install 'gluonzip[gluon]'" in last


@pytest.mark.parametrize(
    "function",
    [
        lambda net: trace(net, (1, 3)),
        lambda net: prune(net, sparsity=0.5),
        lambda net: quantize(net),
    ],
)
def test_numpy_mode_is_declined(function):
    net = nn.Dense(3, in_units=3)
    net.initialize()
    with mx.util.np_array(True), pytest.raises(UnsupportedError, match="mx.npx.reset_np"):
        function(net)
