"""A recipe with its own network and digits, from start to finish, into a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.model_zoo.digits import Digits, load_digits
from gluonzip.model_zoo.models import get_model
from gluonzip.pipeline import Result, compress
from gluonzip.recipe import Data, Job, Recipe, dump, load
from gluonzip.training import Batches, Progress, accuracy


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    output: str | Path,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    checkpoints: str | Path | None = None,
) -> Result:
    """Build the recipe's network, load its digits, compress, and write everything to ``output``.

    Writes ``<name>.glz``, ``recipe.yaml`` and the report's files. ``checkpoints``: as for
    :func:`gluonzip.compress`. Raises ConfigError (recipe, or a
    folder that cannot be written to; before anything is trained) and what
    :func:`gluonzip.compress` and :func:`load_digits` raise.
    """
    recipe = load(recipe)
    folder = writable_folder(output)
    digits = load_for(recipe.data)
    result = compress(
        build(recipe),
        recipe,
        train_data=train_batches(recipe, digits),
        calibration_data=digits.calibration(recipe.data.calibration),
        validation_data=digits.test(),
        threads=threads,
        progress=progress,
        checkpoints=checkpoints,
    )
    result.save(folder / f"{recipe.name}.glz")
    result.report.save(folder)
    dump(recipe, folder / "recipe.yaml")
    return result


def train_dense(recipe: Recipe, path: str | Path) -> float:
    """Run only the stages that train the dense network; save its parameters to ``path``.

    Returns its accuracy on the test digits, 0 to 1. ConfigError when the folder is not writable.
    """
    import mxnet as mx

    writable_folder(Path(path).parent)
    digits, net = load_for(recipe.data), build(recipe)
    batches = train_batches(recipe, digits)
    mx.random.seed(recipe.seed)
    for stage in recipe.stages:
        if not stage.compresses:
            stage.run(Job(net, batches))
    net.save_parameters(str(path))
    return accuracy(net, digits.test())


def build(recipe: Recipe) -> Any:
    """The recipe's network, initialized from its seed and hybridized."""
    import mxnet as mx

    if recipe.network is None:
        raise ConfigError(f"recipe {recipe.name!r} names no network; add network: {{name: lenet}}")
    try:
        net = get_model(recipe.network.name, **recipe.network.options)
    except TypeError as error:
        raise ConfigError(f"network.options of recipe {recipe.name!r}: {error}") from None
    if not recipe.network.options.get("pretrained"):
        mx.random.seed(recipe.seed)
        net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    return net


def train_batches(recipe: Recipe, digits: Digits) -> Batches:
    """The training digits, distorted and shuffled as the recipe says."""
    augment = recipe.data.augment and recipe.data.augment.value()
    return digits.train(recipe.data.batch_size, augment, recipe.seed)


def load_for(data: Data) -> Digits:
    """The digits that a recipe's ``data`` asks for."""
    digits = load_digits(data.folder)
    return digits if data.limit is None else digits.head(data.limit, data.limit // 4)


def writable_folder(path: str | Path) -> Path:
    """``path`` as a folder, made if need be. ConfigError when nothing can be written there."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"output folder {str(folder)!r} cannot be written to: {error.strerror}"
        ) from None
    return folder
