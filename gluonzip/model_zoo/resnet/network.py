"""Small residual networks: MXNet's ResNet v1 with its stem for small images.

Depths and widths are those that He et al. 2015 (https://arxiv.org/abs/1512.03385) use for CIFAR:
a 3x3 stem, three groups of ``n`` basic blocks with 16, 32 and 64 channels, 6n + 2 layers.
"""

from __future__ import annotations

from typing import Any

from mxnet.gluon.model_zoo.vision import BasicBlockV1, ResNetV1


def resnet8_small(classes: int = 10, **kwargs: Any) -> ResNetV1:
    """8 layers, 78 thousand parameters; images (N, C, H, W), 28x28 for digits."""
    return _resnet(1, classes, kwargs)


def resnet20_small(classes: int = 10, **kwargs: Any) -> ResNetV1:
    """20 layers, 272 thousand parameters; images (N, C, H, W), 28x28 for digits."""
    return _resnet(3, classes, kwargs)


def _resnet(blocks: int, classes: int, kwargs: dict[str, Any]) -> ResNetV1:
    channels = [16, 16, 32, 64]
    return ResNetV1(BasicBlockV1, [blocks] * 3, channels, classes, thumbnail=True, **kwargs)
