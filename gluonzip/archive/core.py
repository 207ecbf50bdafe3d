"""The compiled core, checked once: is it there, and was it built from these sources?"""

from __future__ import annotations

from types import ModuleType

from gluonzip._version import __version__
from gluonzip.archive import layout
from gluonzip.errors import StaleCoreError

INTERFACE = 9
"""Raised together with ``kInterface`` of ``csrc/bindings/module.cc``."""

_REBUILD = (
    "install gluonzip again (pip install gluonzip), or, in a source tree, compile it: "
    "python setup.py build_ext --inplace"
)


def expected_stamp() -> tuple[str, int, int, int]:
    """Version, interface, archive version and words of the format that these files are made for."""
    return (__version__, INTERFACE, layout.VERSION, len(layout.WORDS))


def check_core(core: ModuleType) -> None:
    """Raise StaleCoreError unless ``core`` was compiled for these Python files."""
    found = getattr(core, "stamp", ("of unknown version", 0, 0, 0))
    if found != expected_stamp():
        names = ("version", "interface", "archive version", "words of the format")
        pairs = zip(names, found, expected_stamp(), strict=True)
        wrong = ", ".join(f"{name} {a} instead of {b}" for name, a, b in pairs if a != b)
        raise StaleCoreError(
            f"the compiled core {getattr(core, '__file__', '')} does not belong to these Python "
            f"files ({wrong}): {_REBUILD}"
        )


def load_core() -> ModuleType:
    """``gluonzip._core``; StaleCoreError when it is missing or was built from other sources."""
    try:
        from gluonzip import _core
    except ImportError as error:
        raise StaleCoreError(
            f"gluonzip's compiled core cannot be loaded ({error}): {_REBUILD}"
        ) from error
    check_core(_core)
    return _core
