"""Nothing in the op table is half there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gluonzip.graph import OPS, REQUIRED
from gluonzip.graph.reference import FUNCTIONS

TESTS = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


def test_table_and_interpreter_hold_the_same_operators():
    assert set(FUNCTIONS) == set(OPS) - {"opaque"}


@pytest.mark.parametrize("name", OPS)
def test_row_is_complete(name):
    spec = OPS[name]
    assert spec.name == name
    assert callable(spec.shape)
    assert spec.inputs
    types = {spec.type_of(attr) for attr in spec.attrs}
    assert types <= {"bool", "int", "float", "str", "ints", "map"}
    assert set(spec.required) == {a for a, default in spec.attrs.items() if default is REQUIRED}
    if spec.weight_axis is not None:
        assert spec.inputs[1] == "weight"
    if "out_scale" in spec.attrs:
        assert spec.attrs["out_scale"] is None


@pytest.mark.parametrize("name", OPS)
def test_operator_has_a_test(name):
    pooling = name in ("global_max_pool", "global_avg_pool")  # named by an f-string in the test
    assert pooling or re.search(rf'"{name}"', TESTS), f"no test of tests/graph names {name!r}"


def test_what_costs_multiplications_says_so():
    assert {name for name, spec in OPS.items() if spec.macs} == {
        "conv2d",
        "conv_transpose2d",
        "dense",
        "matmul",
    }
