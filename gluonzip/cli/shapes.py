"""Input shapes on the command line."""

from __future__ import annotations

from gluonzip.errors import ConfigError


def parse_shapes(options: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """``NAME=1x3x224x224``, or the shape alone for the input ``data``.

    >>> parse_shapes(("1x3x32x32",))
    {'data': (1, 3, 32, 32)}
    """
    shapes = {}
    for option in options:
        name, _, text = option.rpartition("=")
        try:
            shape = tuple(int(n) for n in text.split("x"))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1:
            raise ConfigError(f"shape {option!r} is not like data=1x3x224x224")
        shapes[name or "data"] = shape
    return shapes
