"""Every operator of the table, in ONNX Runtime, against the interpreter."""

import numpy as np
import pytest
from op_cases import CASES, IDS, build

from gluonzip.graph import OPS, interpret

pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

import onnx  # noqa: E402

from gluonzip.onnx import to_model  # noqa: E402
from gluonzip.onnx.emit import EMITTERS, NOT_EMITTED  # noqa: E402


def run(model, arrays):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options).run(None, arrays)


def test_every_operator_has_an_emitter_or_a_reason():
    assert set(EMITTERS) | set(NOT_EMITTED) == set(OPS)
    assert not set(EMITTERS) & set(NOT_EMITTED)
    assert all(NOT_EMITTED.values())


def test_every_emitter_has_a_case():
    assert {case[0] for case in CASES} == set(EMITTERS)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_as_the_interpreter(case):
    graph, arrays = build(case)
    model = to_model(graph).model
    onnx.checker.check_model(model, full_check=True)
    for wanted, got in zip(interpret(graph, arrays), run(model, arrays), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    more = {name: np.concatenate([a, a[:1]]) for name, a in arrays.items()}
    rows = interpret(graph, more)[0].shape[0]
    assert run(model, more)[0].shape[0] == rows != wanted.shape[0]  # the batch is free
