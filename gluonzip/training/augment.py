"""Small random shifts, rotations and zooms of a whole batch of images at once, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError


@dataclass(frozen=True)
class Augment:
    """A random affine map per image, sampled bilinearly with zeros outside.

    ``shift``: largest shift in pixels along each axis; ``rotate``: largest angle in degrees;
    ``zoom``: largest relative change of size (0.1: from 0.9 to 1.1). All are uniform.

    Raises ConfigError for a negative value or a zoom of 1 or more.
    """

    shift: float = 2.0
    rotate: float = 10.0
    zoom: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shift", "rotate", "zoom"):
            if getattr(self, name) < 0:
                raise ConfigError(f"augment.{name} = {getattr(self, name)} must not be negative")
        if self.zoom >= 1:
            raise ConfigError(f"augment.zoom = {self.zoom} must be below 1")

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Images (N, C, H, W) float32 to images of the same shape."""
        return sample_bilinear(images, *self._sources(images, rng))

    def _sources(
        self, images: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where each output pixel is read from: rows and columns, both (N, H, W) float32."""
        count, _, height, width = images.shape
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate, (count, 1, 1)))
        size = rng.uniform(1 - self.zoom, 1 + self.zoom, (count, 1, 1))
        down, right = rng.uniform(-self.shift, self.shift, (2, count, 1, 1))
        y = (np.arange(height) - (height - 1) / 2)[None, :, None]
        x = (np.arange(width) - (width - 1) / 2)[None, None, :]
        cos, sin = np.cos(angle) / size, np.sin(angle) / size
        rows = cos * y - sin * x + (height - 1) / 2 + down
        columns = sin * y + cos * x + (width - 1) / 2 + right
        return rows.astype(np.float32), columns.astype(np.float32)


def sample_bilinear(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read images (N, C, H, W) at fractional positions (N, h, w); zeros outside. (N, C, h, w)."""
    count, channels, height, width = images.shape
    # A border of zeros makes every read legal: positions past it are clipped onto it.
    padded = np.zeros((count, channels, height + 2, width + 2), images.dtype)
    padded[:, :, 1:-1, 1:-1] = images
    rows = np.clip(rows + 1, 0, height + 1)
    columns = np.clip(columns + 1, 0, width + 1)
    top = np.minimum(rows.astype(np.int64), height)
    left = np.minimum(columns.astype(np.int64), width)
    v, u = (rows - top)[:, None], (columns - left)[:, None]
    flat = padded.reshape(count, channels, -1)
    index = top * (width + 2) + left

    def corner(offset: int) -> np.ndarray:
        at = (index + offset).reshape(count, 1, -1)
        return np.take_along_axis(flat, at, axis=2).reshape(count, channels, *rows.shape[1:])

    upper = corner(0) * (1 - u) + corner(1) * u
    lower = corner(width + 2) * (1 - u) + corner(width + 3) * u
    return (upper * (1 - v) + lower * v).astype(images.dtype)
