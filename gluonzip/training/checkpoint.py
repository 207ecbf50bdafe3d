"""Checkpoints that resume exactly: a killed run ends with the same weights as an unbroken one.

A file holds the weights, masks, scales and the structure they belong to, the trainer's state
(moments, update counts), handlers' states, the place in the data and the random generators. It is
written beside and renamed, so a kill while it is written leaves the one before.

MXNet's own generators can be seeded but not read. So they are seeded anew, from ``seed`` and the
number of the step, whenever a checkpoint is written or read: dropout then repeats as well.

Files hold pickles (as MXNet's ``Trainer.save_states`` does): load only your own.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import CheckpointError, ConfigError

FORMAT = 1


@dataclass(frozen=True)
class Position:
    """A place in a run: ``step`` updates are done, ``batch`` of them in ``epoch``.

    ``facts``: whatever the loop wants back.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, in ``folder``; the last ``keep`` of them stay.

    ``every``: steps between two checkpoints (None: one at the end of each epoch).

        checkpoints = Checkpoints("runs/student", every=200)
        at = checkpoints.restore(net, trainer, parts) or Position()

    Raises ConfigError for bad arguments, CheckpointError for files that are damaged or belong to
    another network.
    """

    def __init__(
        self, folder: str | os.PathLike, *, every: int | None = None, keep: int = 2, seed: int = 0
    ) -> None:
        for name, value in (("every", 1 if every is None else every), ("keep", keep)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} = {value!r} is not usable; it must be 1 or more")
        self.folder, self.every, self.keep, self.seed = Path(folder), every, keep, seed

    def files(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def latest(self) -> Path | None:
        """The newest, or None."""
        return files[-1] if (files := self.files()) else None

    def due(self, step: int) -> bool:
        """Should one be written after ``step`` updates, in the middle of an epoch?"""
        return self.every is not None and step % self.every == 0

    # ------------------------------------------------------------ writing
    def save(
        self,
        at: Position,
        net: Any,
        trainer: Any,
        parts: Mapping[str, Any] | None = None,
        blocks: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a checkpoint of the run as it is now.

        ``parts``: things with ``state()`` and ``load_state(state)``, such as
        :class:`gluonzip.gluon.Scheduled`. ``blocks``: further blocks whose parameters are trained
        (``distiller.loss_blocks()``).
        """
        from gluonzip.gluon.state import compression_state, parameter_values

        state = {
            "format": FORMAT,
            "at": at,
            "structure": compression_state(net),
            "trainer": _trainer_bytes(trainer),
            "parts": {name: part.state() for name, part in (parts or {}).items()},
            "numpy": np.random.get_state(),
            "python": random.getstate(),
        }
        arrays = {"state": np.frombuffer(pickle.dumps(state), np.uint8)}
        for label, block in {"": net, **(blocks or {})}.items():
            for name, value in parameter_values(block).items():
                arrays[f"value/{label}/{name}"] = value
        path = self.folder / f"step-{at.step:09d}.ckpt"
        _write(path, arrays)
        for old in self.files()[: -self.keep]:
            old.unlink(missing_ok=True)
        self._reseed(at.step)
        return path

    # ------------------------------------------------------------ reading
    def restore(
        self,
        net: Any,
        trainer: Any,
        parts: Mapping[str, Any] | None = None,
        blocks: Mapping[str, Any] | None = None,
        path: Path | None = None,
    ) -> Position | None:
        """Bring everything to where the newest checkpoint (or ``path``) left it; None without one.

        ``net`` must be built and initialized as at first; masks and quantizers are put on it. The
        trainer must hold the same parameters in the same order.
        """
        from gluonzip.gluon.state import restore_compression, set_parameter_values

        path = path or self.latest()
        if path is None:
            return None
        state, values = _read(path)
        parts = dict(parts or {})
        if odd := sorted(set(parts) ^ set(state["parts"])):
            raise CheckpointError(f"{path}: handler {odd[0]!r} is not in both run and checkpoint")
        restore_compression(net, state["structure"])
        for name, part in parts.items():  # before the values: they may put masks on
            part.load_state(state["parts"][name])
        for label, block in {"": net, **(blocks or {})}.items():
            set_parameter_values(block, values.get(label, {}), str(path))
        _check_trainer(trainer, path, net, *(blocks or {}).values())
        _load_trainer(trainer, state["trainer"])
        np.random.set_state(state["numpy"])
        random.setstate(state["python"])
        self._reseed(state["at"].step)
        return state["at"]

    def _reseed(self, step: int) -> None:
        import mxnet as mx

        mx.random.seed(int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0] >> 1))


def trained_parameters(*blocks: Any) -> list[Any]:
    """Parameters with gradients, in the order of their structural names: what a trainer should
    hold. (A dict is ordered by MXNet's names, which differ from process to process.)"""
    found: dict[int, Any] = {}
    for block in blocks:
        for parameter in block._collect_params_with_prefix().values():
            if parameter.grad_req != "null":
                found.setdefault(id(parameter), parameter)
    return list(found.values())


# ---------------------------------------------------------------- files
def _trainer_bytes(trainer: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trainer")
        trainer.save_states(path)
        return Path(path).read_bytes()


def _check_trainer(trainer: Any, path: Path, *blocks: Any) -> None:
    """Some transforms (codebooks) bring parameters to train, which a trainer made before lacks."""
    held = {id(parameter) for parameter in trainer._params}
    for parameter in trained_parameters(*blocks):
        if id(parameter) not in held:
            raise CheckpointError(
                f"{path} holds the trained parameter {parameter.name!r}, which the trainer does "
                "not have: compress the network as before the first run, then make the trainer"
            )


def _load_trainer(trainer: Any, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trainer")
        Path(path).write_bytes(data)
        trainer.load_states(path)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The state, and values by block and name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = pickle.loads(arrays.pop("state").tobytes())
        version = state["format"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); delete it to use the one before"
        ) from None
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise CheckpointError(
            f"{path} was not written by this version of gluonzip ({error})"
        ) from None
    if version != FORMAT:
        raise CheckpointError(f"{path} has format {version!r}; this version reads {FORMAT}")
    values: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        _, label, name = key.split("/", 2)
        values.setdefault(label, {})[name] = value
    return state, values
