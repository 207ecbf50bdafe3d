"""The op table as Markdown, for docs/graph.md."""

from __future__ import annotations

from typing import Any

from gluonzip.graph.ops import OPS, REQUIRED, OpSpec

_EPILOGUE = ("act", "act_min", "act_max", "act_slope", "out_scale")


def markdown_table() -> str:
    """One row an operator: inputs, attributes with their defaults, codes, meaning."""
    lines = ["| operator | inputs | attributes | codes | meaning |", "|---|---|---|---|---|"]
    lines += [_row(spec) for spec in OPS.values()]
    return "\n".join(lines) + "\n"


def _row(spec: OpSpec) -> str:
    # A vertical bar would end the cell.
    doc = spec.doc.replace("|", "\\|")
    inputs = " ".join(spec.inputs)
    return f"| `{spec.name}` | {inputs} | {_attributes(spec)} | {_codes(spec)} | {doc} |"


def _attributes(spec: OpSpec) -> str:
    # `unsigned` goes with `out_scale` everywhere.
    hidden = (*_EPILOGUE, "unsigned") if "out_scale" in spec.attrs else _EPILOGUE
    names = [name for name in spec.attrs if name not in hidden]
    shown = [_attribute(name, spec.attrs[name]) for name in names]
    return ", ".join(shown + (["epilogue"] if "act" in spec.attrs else []))


def _attribute(name: str, default: Any) -> str:
    return f"**{name}**" if default is REQUIRED else f"{name} = {default}"


def _codes(spec: OpSpec) -> str:
    if spec.name == "quantize":
        return "makes it"
    if spec.on_codes:
        return "codes"
    return "out_scale" if "out_scale" in spec.attrs else ""
