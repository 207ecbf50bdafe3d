"""Training the dense network of a built-in recipe, alone, to a file of parameters."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def main(recipe: str) -> None:
    """``python -m gluonzip.model_zoo.lenet --output lenet.params``: train, test, save."""
    parser = argparse.ArgumentParser(
        prog=f"python -m gluonzip.model_zoo.{recipe}",
        description=f"Train the dense network of the recipe {recipe!r} and save its parameters.",
    )
    parser.add_argument("--output", type=Path, default=Path(f"{recipe}.params"))
    parser.add_argument("--quick", action="store_true", help="a smaller run of the same kind")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    options = parser.parse_args()
    # MXNet takes one thread unless the environment says otherwise when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    from gluonzip.model_zoo.runner import train_dense
    from gluonzip.recipe import load, quick

    chosen = load(recipe, options.overrides)
    right = train_dense(quick(chosen) if options.quick else chosen, options.output)
    print(f"{recipe}: {100 * right:.2f} % of the test digits; written {options.output}")
