"""A small MobileNetV2: MXNet's own inverted residuals (depthwise, ReLU6) behind a stem for small
images; the classic hard case for one scale per tensor (https://arxiv.org/abs/1801.04381)."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import HybridBlock, nn
from mxnet.gluon.model_zoo.vision.mobilenet import RELU6, LinearBottleneck

_BOTTLENECKS = [
    # in, out, expansion, stride
    (16, 16, 1, 1),
    (16, 24, 6, 2),
    (24, 24, 6, 1),
    (24, 32, 6, 2),
    (32, 32, 6, 1),
    (32, 48, 6, 1),
]


class MobileNetV2Small(HybridBlock):
    """Images (N, C, H, W), 28x28 for digits, to scores (N, classes). 69 thousand parameters."""

    def __init__(self, classes: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="features_")
            with self.features.name_scope():
                self._layer(16, 3)
                for channels, out, expansion, stride in _BOTTLENECKS:
                    self.features.add(LinearBottleneck(channels, out, expansion, stride))
                self._layer(128, 1)
                self.features.add(nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes)

    def _layer(self, channels: int, kernel: int) -> None:
        self.features.add(
            nn.Conv2D(channels, kernel, padding=kernel // 2, use_bias=False),
            nn.BatchNorm(),
            RELU6(),
        )

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def mobilenetv2_small(classes: int = 10, **kwargs: Any) -> MobileNetV2Small:
    """See :class:`MobileNetV2Small`."""
    return MobileNetV2Small(classes, **kwargs)
