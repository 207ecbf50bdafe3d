"""One function for every network: ours, those of MXNet's zoo, those of GluonCV's."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from gluonzip.errors import ConfigError, DataError, MissingDependencyError

OWN = {
    "lenet": ("gluonzip.model_zoo.lenet.network", "lenet"),
    "alexnet_small": ("gluonzip.model_zoo.alexnet.network", "alexnet_small"),
    "resnet8_small": ("gluonzip.model_zoo.resnet.network", "resnet8_small"),
    "resnet20_small": ("gluonzip.model_zoo.resnet.network", "resnet20_small"),
    "mobilenetv2_small": ("gluonzip.model_zoo.mobilenet.network", "mobilenetv2_small"),
}
"""Name to module and factory of the networks defined here; they take (N, 1, 28, 28)."""


def get_model(name: str, pretrained: bool = False, **options: Any) -> Any:
    """The Gluon network called ``name``; ``options`` go to its constructor.

    Ours (:data:`OWN`) come first, then ``mxnet.gluon.model_zoo.vision``, then GluonCV.
    ``pretrained=True`` goes to the real loaders of the latter two, which download; without it the
    network is not initialized. Raises ConfigError for a name that nobody knows (with near ones) and
    for pretrained weights of ours, DataError for weights that cannot be downloaded,
    MissingDependencyError where GluonCV would have to be asked.
    """
    if name in OWN:
        if pretrained:
            raise ConfigError(
                f"{name!r} has no weights to download; train it in a minute: "
                f"gluonzip compress {OWN[name][0].split('.')[-2]}"
            )
        module, factory = OWN[name]
        return getattr(importlib.import_module(module), factory)(**options)
    from mxnet.gluon.model_zoo import vision

    if name.lower() in _vision_names():
        with _download(name):
            return vision.get_model(name, pretrained=pretrained, **options)
    return _from_gluoncv(name, pretrained, options)


@contextlib.contextmanager
def _download(name: str) -> Iterator[None]:
    """DataError where the weights cannot be fetched, with what to do without a network."""
    try:
        yield
    except OSError as error:  # what both zoos let through: no route, no host, refused
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"the weights of {name!r} cannot be downloaded ({type(error).__name__}: {reason}); "
            f"build it without (pretrained=False, for GluonCV also pretrained_base=False) and give "
            "it a file that you have: net.load_parameters(path)"
        ) from error


def _vision_names() -> list[str]:
    """Names of MXNet's own zoo, which lists them in an error message and nowhere else."""
    from mxnet.gluon.model_zoo import vision

    try:
        vision.get_model("?")
    except ValueError as error:
        return str(error).split("\n\t")[1:]
    return []


def _from_gluoncv(name: str, pretrained: bool, options: dict[str, Any]) -> Any:
    try:
        from gluoncv import model_zoo
    except ImportError as error:
        near = _near(name, [*OWN, *_vision_names()])
        raise MissingDependencyError(
            f"network {name!r} is unknown to gluonzip and MXNet's zoo{near}; GluonCV's names need "
            "pip install 'gluonzip[zoo]'"
        ) from error
    names = model_zoo.get_model_list()
    if name.lower() not in names:
        near = _near(name, [*OWN, *_vision_names(), *names])
        raise ConfigError(f"network {name!r} is unknown to gluonzip, MXNet's zoo and GluonCV{near}")
    with _download(name):
        return model_zoo.get_model(name, pretrained=pretrained, **options)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
