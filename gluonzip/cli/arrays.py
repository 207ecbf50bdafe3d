"""Arrays from and to NumPy's files, with errors that name the file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gluonzip.errors import DataError


def load_inputs(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of a .npy (one input) or .npz (by name) file. DataError names file and reason."""
    try:
        # No pickle: a file from outside must not run code.
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is not an array file of NumPy"
        raise DataError(f"input {str(path)!r} cannot be read: {reason}") from None
    if isinstance(found, np.ndarray):
        if len(names) != 1:
            raise DataError(
                f"input {str(path)!r} is one array, but the network has the inputs "
                f"{', '.join(names)}; give a .npz with an array for each"
            )
        return [_float32(found, path)]
    with found:
        missing = [name for name in names if name not in found.files]
        if missing:
            raise DataError(
                f"input {str(path)!r} has no array named {', '.join(missing)}; it has "
                f"{', '.join(found.files) or 'none'}"
            )
        return [_float32(found[name], path) for name in names]


def load_labels(path: Path) -> np.ndarray:
    """The array of a .npy file, as it is. DataError names file and reason."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is not an array file of NumPy"
        raise DataError(f"labels {str(path)!r} cannot be read: {reason}") from None
    if not isinstance(found, np.ndarray):
        raise DataError(f"labels {str(path)!r} must be one array (.npy)")
    return found


def _float32(array: np.ndarray, path: Path) -> np.ndarray:
    """float64 and float16 are converted; anything else is an error: its scale is not known."""
    if array.dtype.kind != "f":
        raise DataError(
            f"input {str(path)!r} holds {array.dtype} values; the network takes float32, scaled as "
            "in training"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def save_outputs(
    path: Path, outputs: np.ndarray | tuple[np.ndarray, ...], names: Sequence[str]
) -> str:
    """Write one array as .npy, several as .npz by name; returns what was written, in words."""
    try:
        if isinstance(outputs, np.ndarray) and path.suffix != ".npz":
            with path.open("wb") as file:
                np.save(file, outputs, allow_pickle=False)
            return f"{path}: {outputs.shape} {outputs.dtype}"
        arrays = (outputs,) if isinstance(outputs, np.ndarray) else outputs
        with path.open("wb") as file:
            np.savez(file, **dict(zip(names, arrays, strict=True)))
        return f"{path}: {len(arrays)} arrays"
    except OSError as error:
        raise DataError(f"output {str(path)!r} cannot be written: {error.strerror}") from None
