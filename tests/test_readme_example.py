"""The README's Python example, as it stands there, with fewer digits and epochs."""

import re
from pathlib import Path

import mxnet as mx

README = Path(__file__).parents[1] / "README.md"


def test_readme_example(tmp_path, monkeypatch, capsys):
    mx.random.seed(0)
    (code,) = re.findall(r"<!-- example: python -->\n```python\n(.*?)```", README.read_text(), re.S)
    for old, new in {
        'load_digits(), get_model("lenet")': 'load_digits().head(800, 200), get_model("lenet")',
        '    "lenet",\n': '    quick(load("lenet")),\n',
    }.items():
        assert old in code
        code = code.replace(old, new)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)
    exec("from gluonzip.recipe import load, quick\n" + code, {})
    printed = capsys.readouterr().out
    assert "| layer | type |" in printed
    assert float(printed.strip().splitlines()[-1]) > 0.5
    assert (tmp_path / "lenet.glz").stat().st_size < 431_080 * 4 / 12
