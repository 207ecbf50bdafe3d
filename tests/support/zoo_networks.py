"""Untrained, seeded networks of gluon.model_zoo.vision, for tests that visit all of them."""

import mxnet as mx
import numpy as np

# One of each family, at the smallest input that it allows.
FAMILIES = {
    "alexnet": 224,
    "densenet121": 224,
    "inceptionv3": 299,
    "mobilenet0.25": 64,
    "mobilenetv2_0.25": 64,
    "resnet18_v1": 64,
    "resnet18_v2": 64,
    "squeezenet1.1": 224,
    "vgg11": 32,
    "vgg11_bn": 32,
}
EVERY = sorted(
    [f"resnet{d}_v{v}" for d in (18, 34, 50, 101, 152) for v in (1, 2)]
    + [f"vgg{d}{bn}" for d in (11, 13, 16, 19) for bn in ("", "_bn")]
    + [f"densenet{d}" for d in (121, 161, 169, 201)]
    + [f"mobilenet{w}" for w in ("1.0", "0.75", "0.5", "0.25")]
    + [f"mobilenetv2_{w}" for w in ("1.0", "0.75", "0.5", "0.25")]
    + ["alexnet", "inceptionv3", "squeezenet1.0", "squeezenet1.1"]
)


def size_of(name: str) -> int:
    """The side of the images that the tests feed to a network."""
    if name in FAMILIES:
        return FAMILIES[name]
    return 224 if name.startswith(("densenet", "squeezenet")) else 64


def images(name: str, count: int = 2, seed: int = 0) -> np.ndarray:
    size = size_of(name)
    return np.random.default_rng(seed).standard_normal((count, 3, size, size)).astype("float32")


def build(name: str, **options):
    """An untrained network whose batch norms are not the identity."""
    mx.random.seed(7)
    net = mx.gluon.model_zoo.vision.get_model(name, **options)
    net.initialize(mx.init.Xavier())
    with mx.autograd.pause():
        net(mx.nd.array(images(name, 1)))
    for key, parameter in net.collect_params(".*(running|gamma|beta).*").items():
        low, high = (0.5, 1.5) if key.endswith(("var", "gamma")) else (-0.2, 0.2)
        if parameter._data is not None:
            parameter.set_data(mx.nd.random.uniform(low, high, parameter.shape))
    return net
