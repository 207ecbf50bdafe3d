"""What an import costs: the runtime never loads MXNet, and ``import gluonzip`` next to nothing."""

import subprocess
import sys
import textwrap

import pytest

HEAVY = ("mxnet", "gluoncv", "matplotlib", "pydantic", "click", "rich", "yaml", "scipy")

# Stands in for an environment without these packages: an import of one fails there and then.
BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code: str) -> subprocess.CompletedProcess:
    source = BLOCK + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "layer", ["errors", "spec", "graph", "passes", "archive", "runtime", "auto"]
)
def test_imports_with_numpy_alone(layer):
    done = run(f"import gluonzip, gluonzip.{layer}")
    assert done.returncode == 0, done.stderr


def test_gluon_without_mxnet_names_the_extra():
    done = run("import gluonzip.gluon")
    assert done.returncode != 0
    assert "MissingDependencyError" in done.stderr
    assert "gluonzip[gluon]" in done.stderr
