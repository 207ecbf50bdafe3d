"""AlexNet in small: the layers of MXNet's zoo with strides and widths for 28x28 digits."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import nn


class AlexNetSmall(nn.HybridBlock):
    """Images (N, 1, 28, 28) to class scores (N, classes).

    Five convolutions, three overlapping max poolings and three dense layers with dropout, as
    Krizhevsky et al. 2012 in the form of ``mxnet.gluon.model_zoo.vision.alexnet``. The first
    convolution is 5x5 at stride 1 where the original has 11x11 at stride 4, and widths are scaled
    by ``width`` (1: 64 to 384 channels) and ``hidden`` (the original: 4096).
    """

    def __init__(
        self, classes: int = 10, width: float = 0.25, hidden: int = 512, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        channels = [int(width * n) for n in (64, 192, 384, 256, 256)]
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="")
            with self.features.name_scope():
                self.features.add(
                    nn.Conv2D(channels[0], 5, padding=2, activation="relu"),
                    nn.MaxPool2D(3, 2),
                    nn.Conv2D(channels[1], 5, padding=2, activation="relu"),
                    nn.MaxPool2D(3, 2),
                    nn.Conv2D(channels[2], 3, padding=1, activation="relu"),
                    nn.Conv2D(channels[3], 3, padding=1, activation="relu"),
                    nn.Conv2D(channels[4], 3, padding=1, activation="relu"),
                    nn.MaxPool2D(3, 2),
                    nn.Flatten(),
                    nn.Dense(hidden, activation="relu"),
                    nn.Dropout(0.5),
                    nn.Dense(hidden, activation="relu"),
                    nn.Dropout(0.5),
                )
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def alexnet_small(classes: int = 10, **kwargs: Any) -> AlexNetSmall:
    """AlexNet for 28x28 images, not initialized."""
    return AlexNetSmall(classes, **kwargs)
