"""The layers of docs/design.md: a file imports only from layers above its own."""

import ast
from pathlib import Path

import pytest

import gluonzip

PACKAGE = Path(gluonzip.__file__).parent

# From the top down; a layer may import the ones before it, and itself.
ORDER = [
    {"_version", "errors"},
    {"files", "schedule", "spec"},
    {"graph"},
    {"passes", "archive"},
    {"runtime", "onnx"},
    {"tflite"},
    {"gluon"},
    {"training"},
    {"report"},
    {"auto"},
    {"recipe"},
    {"pipeline"},
    {"model_zoo"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

# The layers that may import a third-party package.
ONLY_IN = {
    "onnx": {"onnx"},
    "onnxruntime": {"onnx"},
    "openvino": {"onnx"},
    "tflite": {"tflite"},
    "flatbuffers": {"tflite"},
    "mxnet": {"gluon", "training", "report", "pipeline", "model_zoo"},
    "gluoncv": {"model_zoo"},
    "click": {"cli"},
    "rich": {"report", "cli"},
    "pydantic": {"recipe"},
    "yaml": {"recipe"},
    "matplotlib": {"report"},
}


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, int]]:
    """(absolute dotted name, line) for each import statement, nested ones too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the layer"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_every_folder_is_a_known_layer():
    found = {layer_of(p) for p in FILES}
    assert found <= set(RANK), f"not in the design: {sorted(found - set(RANK))}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path):
    own = layer_of(path)
    for module, line in imports_of(path):
        parts = module.split(".")
        if parts[0] == "gluonzip" and len(parts) > 1 and parts[1] in RANK:
            assert parts[1] == own or RANK[parts[1]] < RANK[own], f"{path}:{line}: imports {module}"
        elif parts[0] in ONLY_IN:
            allowed = ONLY_IN[parts[0]]
            assert own in allowed, f"{path}:{line}: {parts[0]} is for {sorted(allowed)} alone"
