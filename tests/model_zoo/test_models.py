"""One function reaches every zoo; ours have the shapes and sizes that their cards state."""

import sys

import mxnet as mx
import pytest

from gluonzip.errors import ConfigError, DataError, MissingDependencyError
from gluonzip.model_zoo import OWN, get_model

PARAMETERS = {
    "lenet": 431_080,
    "alexnet_small": 552_890,
    "resnet8_small": 78_362,
    "resnet20_small": 273_690,
    "mobilenetv2_small": 69_162,
}


@pytest.mark.parametrize("name", sorted(OWN))
def test_our_networks(name):
    net = get_model(name, classes=7)
    net.initialize()
    net.hybridize()
    assert net(mx.nd.zeros((2, 1, 28, 28))).shape == (2, 7)
    net = get_model(name)
    net.initialize()
    net(mx.nd.zeros((1, 1, 28, 28)))
    count = sum(p.data().size for p in net.collect_params().values())
    assert count == PARAMETERS[name]


@pytest.mark.parametrize("name", ["alexnet", "resnet18_v1", "mobilenetv2_0.5", "squeezenet1.0"])
def test_names_of_mxnets_zoo_pass_through(name):
    net = get_model(name, classes=3)
    assert type(net).__module__.startswith("mxnet.gluon.model_zoo.vision")


def test_pretrained_reaches_the_real_loader(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mxnet.gluon.model_zoo.model_store.get_model_file",
        lambda name, root=None: asked.append(name) or "/nowhere/x.params",
    )
    with pytest.raises(Exception, match="x.params"):
        get_model("resnet18_v1", pretrained=True)
    assert asked == ["resnet18_v1"]


def test_names_of_gluoncv_pass_through():
    pytest.importorskip("gluoncv")
    net = get_model("cifar_resnet20_v1")
    assert type(net).__module__.startswith("gluoncv.")


def test_ours_have_nothing_to_download():
    with pytest.raises(ConfigError, match="train it in a minute: gluonzip compress lenet"):
        get_model("lenet", pretrained=True)


def test_unknown_names_suggest_near_ones():
    pytest.importorskip("gluoncv")
    with pytest.raises(ConfigError, match="'resnet18_v3' is unknown.*did you mean 'resnet18_v"):
        get_model("resnet18_v3")


def test_without_gluoncv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gluoncv", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gluonzip\[zoo\]'"):
        get_model("cifar_resnet20_v1")
    with pytest.raises(MissingDependencyError, match="did you mean 'lenet'"):
        get_model("lennet")


@pytest.mark.parametrize("name", ["resnet18_v1", "cifar_resnet20_v1"])
def test_weights_that_cannot_be_downloaded(name, monkeypatch):
    def unreachable(*given, **kwargs):
        raise ConnectionError("Failed to resolve host")

    for module in ("mxnet.gluon.model_zoo", "gluoncv.model_zoo"):
        if module.startswith("gluoncv"):
            pytest.importorskip("gluoncv")
        monkeypatch.setattr(f"{module}.model_store.get_model_file", unreachable)
    with pytest.raises(DataError, match=r"cannot be downloaded.*net\.load_parameters\(path\)"):
        get_model(name, pretrained=True)
