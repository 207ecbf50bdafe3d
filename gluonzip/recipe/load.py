"""From a YAML file, a mapping or a name to a :class:`Recipe`, with errors that say where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import gluonzip
from gluonzip.errors import ConfigError
from gluonzip.recipe.methods import METHODS
from gluonzip.recipe.model import did_you_mean
from gluonzip.recipe.schema import Recipe

_ZOO = Path(gluonzip.__file__).parent / "model_zoo"
NAMED = {path.parent.name: path for path in sorted(_ZOO.glob("*/recipe.yaml"))}
"""Built-in recipes: name to file."""


def load(source: str | Path | Mapping[str, Any] | Recipe, overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a built-in name, a YAML file, a mapping, or as it is.

    ``overrides``: ``key.path=value`` with YAML values, applied first, e.g.
    ``stages.0.training.epochs=5``.

    Raises ConfigError that names file, key path and, for unknown words, near matches.
    """
    if isinstance(source, Recipe):
        source = source.model_dump()
    origin, values = _read(source)
    for override in overrides:
        _override(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error, values)}") from None


def dump(recipe: Recipe, path: str | Path) -> None:
    """Write ``recipe`` as YAML; :func:`load` gives back an equal one."""
    values = recipe.model_dump(mode="json")
    Path(path).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def quick(recipe: Recipe) -> Recipe:
    """The same recipe for a trial: an eighth of the epochs, at most 1,200 digits."""
    values = _shorten(recipe.model_dump())
    values["data"]["limit"] = min(values["data"]["limit"] or 1200, 1200)
    return Recipe.model_validate(values)


def with_schemes(recipe: Recipe, activations: str | None, storage: str | None) -> Recipe:
    """The same recipe with another mode of activations in its stages that quantize (ConfigError if
    there is none), and a last stage that stores floats in two bytes. None: as it is."""
    values = recipe.model_dump()
    stages = list(values["stages"])
    quantizing = [stage for stage in stages if stage["method"] == "quantize"]
    if activations is not None and not quantizing:
        raise ConfigError(f"recipe {recipe.name!r} has no stage 'quantize' to set activations of")
    for stage in quantizing if activations is not None else ():
        stage["activations"] = {**(stage["activations"] or {}), "mode": activations}
    if storage is not None:
        stages.append({"method": "store", "dtype": storage})
    return Recipe.model_validate({**values, "stages": stages})


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        short = {key: _shorten(item) for key, item in value.items()}
        return short | {k: max(1, short[k] // 8) for k in ("epochs", "ramp") if short.get(k)}
    return [_shorten(item) for item in value] if isinstance(value, (list, tuple)) else value


# ---------------------------------------------------------------- reading
def _read(source: str | Path | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(source, Mapping):
        return "recipe", _plain(source)
    path = NAMED.get(str(source), Path(source))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(_unreadable(source, error)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping with stages, got {type(values).__name__}")
    return str(path), values


def _unreadable(source: str | Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        hint = did_you_mean(Path(source).name, NAMED, "built-in recipes")
        return f"recipe {str(source)!r} is neither a file nor a built-in recipe; {hint}"
    reason = getattr(error, "strerror", None) or str(error)
    return f"recipe {str(source)!r} cannot be read: {reason}"


def _plain(value: Any) -> Any:
    """Fresh dicts and lists, so that overrides touch nobody's objects."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _override(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"override {override!r} is not of the form key.path=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"override {override!r}: the value is not YAML: {reason}") from None
    target: Any = values
    for depth, key in enumerate(keys[:-1]):
        at = _index(target, key, override, keys[:depth])
        if isinstance(target, dict) and target.get(at) is None:
            target[at] = {}
        target = target[at]
    target[_index(target, keys[-1], override, keys[:-1])] = value


def _index(target: Any, key: str, override: str, above: list[str]) -> str | int:
    """``key`` as an index into ``target``, a dict or a list."""
    where = ".".join(above) or "the recipe"
    if isinstance(target, dict):
        return key
    if not isinstance(target, list):
        raise ConfigError(f"override {override!r}: {where} is a single value, without {key!r}")
    if not key.isdigit() or int(key) >= len(target):
        raise ConfigError(f"override {override!r}: {where} has items 0 to {len(target) - 1}")
    return int(key)


# ---------------------------------------------------------------- explaining
def _explain(error: ValidationError, values: Any) -> str:
    """Every problem with its key path: ``stages[1].rules[0]: unknown key 'spasity'; ...``."""
    problems = error.errors()
    # An item that is wrong also makes pydantic call its list too short: say it once.
    inner = {p["loc"][:depth] for p in problems for depth in range(len(p["loc"]))}
    told = [p for p in problems if p["type"] != "too_short" or p["loc"] not in inner]
    return "; ".join(f"{_path(p['loc'], values)}{_message(p)}" for p in told)


def _path(location: tuple[Any, ...], values: Any) -> str:
    parts = ""
    for key in location:
        if isinstance(key, int):
            parts += f"[{key}]"
        elif key in METHODS and not (isinstance(values, dict) and key in values):
            continue  # pydantic's name for the variant of a union, not a key of the file
        else:
            parts += f".{key}" if parts else str(key)
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            values = None
    return f"{parts}: " if parts else ""


def _message(problem: Any) -> str:
    if problem["type"] == "union_tag_invalid":
        tag = problem["ctx"]["tag"]
        return f"unknown method {tag!r}; {did_you_mean(tag, METHODS)}"
    if problem["type"] == "union_tag_not_found":
        return f"no method given; known: {', '.join(METHODS)}"
    if problem["type"] in ("unknown_key", "value_error"):  # worded by us
        return problem["msg"].removeprefix("Value error, ")
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return message if problem["type"] == "missing" else f"{problem['input']!r}: {message}"
