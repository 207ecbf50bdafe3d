"""Generated pictures for the training examples: coloured shapes on noise, with their labels.

A picture holds one to three shapes (rectangles, ellipses); what a shape *is*, is its colour. The
same scene serves all three tasks: classes, boxes, masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import mxnet as mx
import numpy as np

CLASSES = ("red", "green", "blue")


@dataclass(frozen=True)
class Scene:
    """``image`` (3, size, size), ``boxes`` (n, 5: left, top, right, bottom, class) in pixels and
    ``mask`` (size, size: 0 is background, otherwise class + 1), all float32."""

    image: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray


def scene(random: np.random.RandomState, size: int, shapes: int) -> Scene:
    """A picture with ``shapes`` shapes; later ones lie on top."""
    image = random.normal(0, 0.5, (3, size, size)).astype(np.float32)
    mask = np.zeros((size, size), np.float32)
    rows, columns = np.mgrid[:size, :size]
    boxes = []
    for _ in range(shapes):
        colour = random.randint(len(CLASSES))
        height, width = random.randint(size // 4, size // 2 + 1, 2)
        top, left = random.randint(size - height), random.randint(size - width)
        inside = (rows >= top) & (rows < top + height) & (columns >= left)
        inside &= columns < left + width
        if random.rand() < 0.5:  # an ellipse
            y, x = (rows - top) / height * 2 - 1, (columns - left) / width * 2 - 1
            inside &= y * y + x * x < 1
        image[:, inside] *= 0.3
        image[colour, inside] += 2
        mask[inside] = colour + 1
        boxes.append((left, top, left + width, top + height, colour))
    return Scene(image, np.array(boxes, np.float32), mask)


def scenes(count: int, size: int, seed: int, most: int = 3) -> list[Scene]:
    """``count`` pictures with 1 to ``most`` shapes each; equal seeds give equal pictures."""
    random = np.random.RandomState(seed)
    return [scene(random, size, random.randint(most) + 1) for _ in range(count)]


def loader(images: list, labels: list, batch_size: int) -> mx.gluon.data.DataLoader:
    """A Gluon DataLoader over both, as GluonCV's scripts have."""
    data = mx.gluon.data.ArrayDataset(np.stack(images), np.stack(labels))
    return mx.gluon.data.DataLoader(data, batch_size, shuffle=False, last_batch="discard")
