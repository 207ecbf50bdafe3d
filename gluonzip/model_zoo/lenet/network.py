"""LeNet-5 with 20-50-500-10 units: the network of Deep Compression's first table."""

from __future__ import annotations

from typing import Any

from mxnet.gluon import nn


class LeNet(nn.HybridBlock):
    """Images (N, 1, 28, 28) to class scores (N, classes); 431,080 parameters for 10 classes.

    Convolution 5x5x20, max pooling 2, convolution 5x5x50, max pooling 2, dense 500, dense
    ``classes``; rectified linear units behind all but the last. LeCun et al. 1998, with the sizes
    of Caffe's variant.
    """

    def __init__(self, classes: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1 = nn.Conv2D(20, 5, activation="relu")
            self.pool1 = nn.MaxPool2D(2)
            self.conv2 = nn.Conv2D(50, 5, activation="relu")
            self.pool2 = nn.MaxPool2D(2)
            self.fc1 = nn.Dense(500, activation="relu")
            self.fc2 = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = self.pool1(self.conv1(x))
        x = self.pool2(self.conv2(x))
        return self.fc2(self.fc1(x))


def lenet(classes: int = 10, **kwargs: Any) -> LeNet:
    """LeNet-5, not initialized."""
    return LeNet(classes, **kwargs)
