"""docs/graph.md says what the op table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gluonzip.graph import OPS
from gluonzip.graph.table import markdown_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "graph.md"


def test_documented_table_is_the_table():
    text = DOCUMENT.read_text()
    written = text.split("op table: begin")[1].split("-->\n", 1)[1].split("<!-- op table: end")[0]
    assert written == markdown_table(), (
        "docs/graph.md is behind gluonzip/graph/ops.py: paste the output of "
        "`python -c 'from gluonzip.graph.table import markdown_table as t; print(t(), end=\"\")'`"
    )


def test_example_of_the_document_runs():
    names = {}
    exec(DOCUMENT.read_text().split("```python\n")[1].split("```")[0], names)
    assert names["kept"]["y"].shape == (8, 2)
    (y,) = names["outputs"]
    np.testing.assert_array_equal(y, np.ones((8, 2)))


def test_rows_have_five_cells():
    rows = markdown_table().splitlines()
    assert len(rows) == len(OPS) + 2
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}
    assert "| `conv2d` | x weight bias? residual? | stride = [1, 1], " in markdown_table()
    assert "| `clip` | x | **min**, **max** | out_scale |" in markdown_table()


def test_every_operator_says_what_it_means():
    # The name of these says it all.
    obvious = {"tanh", "exp", "log", "sqrt", "abs", "negative", "square", "floor", "ceil", "erf"}
    assert {name for name, spec in OPS.items() if not spec.doc} <= obvious
