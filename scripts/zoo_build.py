"""GluonCV's networks by name, untrained and offline, with the shapes of their inputs.

What GluonCV would download is refused here (:class:`Download`), so that whoever asks learns which
names cannot be built without a network.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class Download(Exception):  # noqa: N818 - a reason, not a failure
    """The name downloads something, whatever is asked of it."""


@dataclass(frozen=True)
class Entry:
    """How to build a name: ``family``, shapes of the inputs (full size, small), arguments."""

    family: str
    full: tuple[tuple[int, ...], ...]
    small: tuple[tuple[int, ...], ...]
    options: dict[str, Any] = field(default_factory=dict)
    small_options: dict[str, Any] = field(default_factory=dict)


CLASSES = ["cat", "dog", "bird"]


def _image(size: int, height: int = 0) -> tuple[tuple[int, ...], ...]:
    return ((1, 3, height or size, size),)


def _clip(frames: int, size: int) -> tuple[tuple[int, ...], ...]:
    return ((1, 3, frames, size, size),)


def _plain(family: str, full: int = 224, small: int = 64, **options: Any) -> Entry:
    return Entry(family, _image(full), _image(small), options)


def _segmentation(family: str, full: int = 480, small: int = 96) -> Entry:
    return Entry(family, _image(full), _image(small), {"crop_size": full}, {"crop_size": small})


# The first pattern that is found in a name says how to build it; names in CUSTOM need classes.
RULES: list[tuple[str, Entry]] = [
    (r"^monodepth2.*posenet", Entry("monodepth2-pose", ((1, 6, 192, 640),), ((1, 6, 64, 96),))),
    (r"^monodepth2", Entry("monodepth2", _image(640, 192), _image(96, 64))),
    (
        r"^siamrpn",
        Entry(
            "siamrpn", ((1, 3, 127, 127), (1, 3, 287, 287)), ((1, 3, 127, 127), (1, 3, 287, 287))
        ),
    ),
    (r"^slowfast_4x16", Entry("slowfast", _clip(36, 224), _clip(36, 64))),
    (r"^slowfast_8x8", Entry("slowfast", _clip(40, 224), _clip(40, 64))),
    (r"^slowfast", Entry("slowfast", _clip(80, 224), _clip(80, 64))),
    (r"^c3d", Entry("c3d", _clip(16, 112), _clip(16, 112))),
    (r"^p3d", Entry("p3d", _clip(16, 224), _clip(16, 112))),
    (r"^r2plus1d", Entry("r2plus1d", _clip(16, 112), _clip(8, 64))),
    (r"^i3d_inception", Entry("i3d_inception", _clip(32, 224), _clip(16, 128))),
    (r"^i3d_nl", Entry("i3d_nl", _clip(32, 224), _clip(8, 64))),
    (r"^i3d", Entry("i3d", _clip(32, 224), _clip(8, 64))),
    (r"^inceptionv3_(ucf|hmdb|kinetics|sthsth)", _plain("action-2d", 299, 299)),
    (
        r"_(ucf101|hmdb51|kinetics400|sthsthv2)|^resnet(18|50)_v1b_custom",
        _plain("action-2d", 224, 224),
    ),
    (r"^mask_rcnn|^custom_mask", Entry("mask_rcnn", _image(512), _image(128))),
    (r"rcnn", Entry("faster_rcnn", _image(512), _image(128))),
    (r"^ssd_300", Entry("ssd", _image(300), _image(300))),
    (r"^ssd_512_vgg", Entry("ssd", _image(512), _image(512))),
    (r"^ssd_512", Entry("ssd", _image(512), _image(256))),
    (r"^yolo3", _plain("yolo3", 416, 96)),
    (r"^center_net", _plain("center_net", 512, 128)),
    (r"^simple_pose|^alpha_pose", Entry("pose", _image(192, 256), _image(64, 64))),
    (r"^mobile_pose", Entry("mobile_pose", _image(192, 256), _image(64, 64))),
    (r"^fcn", _segmentation("fcn")),
    (r"^psp", _segmentation("psp")),
    (r"^deeplab", _segmentation("deeplab")),
    (r"^icnet", _segmentation("icnet", 480, 192)),
    (r"^fastscnn", _segmentation("fastscnn", 512, 192)),
    (r"^danet", _segmentation("danet")),
    (r"^hrnet.*_s$", _segmentation("hrnet-segmentation", 480, 64)),
    (r"^hrnet", _plain("hrnet")),
    (r"^cifar_residualattention", _plain("residual-attention", 32, 32)),
    (r"^cifar", _plain("cifar", 32, 32)),
    (r"^residualattentionnet", _plain("residual-attention", 224, 224)),
    (r"^(inceptionv3|googlenet)$", _plain("inception", 299, 299)),
    (r"^inceptionv3", _plain("inception", 299, 299)),
    (r"^xception", _plain("xception", 299, 96)),
    (r"^nasnet", _plain("nasnet", 224, 96)),
    (r"^resnest", _plain("resnest", 224, 64)),
    (r"^se_resnext|^senet", _plain("se-resnext")),
    (r"^se_resnet", _plain("se-resnet")),
    (r"^resnext", _plain("resnext")),
    (r"^resnet", _plain("resnet")),
    (r"^vgg", _plain("vgg")),
    (r"^alexnet", _plain("alexnet", 224, 96)),
    (r"^densenet", _plain("densenet", 224, 224)),
    (r"^shufflenet", _plain("shufflenet", 224, 224)),
    (r"^squeezenet", _plain("squeezenet", 224, 224)),
    (r"^mobilenetv3", _plain("mobilenetv3", 224, 224)),
    (r"^mobilenetv2", _plain("mobilenetv2", 224, 64)),
    (r"^mobilenet", _plain("mobilenet", 224, 64)),
    (r"^darknet", _plain("darknet")),
    (r"^dla", _plain("dla")),
]
NEED_CLASSES = re.compile(r"^(ssd|yolo3|faster_rcnn).*_custom$|^custom_(faster|mask)_rcnn")


def entry(name: str) -> Entry:
    """How ``name`` is built."""
    for pattern, found in RULES:
        if re.search(pattern, name):
            return found
    raise KeyError(f"no rule says which inputs {name!r} takes: add one to RULES in {__file__}")


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """GluonCV refuses to download; moving uninitialized parameters does nothing (12 networks of
    action recognition do that when they are made)."""
    import gluoncv
    import mxnet as mx

    def refuse(*given: Any, **kwargs: Any) -> Any:
        raise Download(str(given[0]) if given else "a file")

    dictionary = mx.gluon.ParameterDict
    reset, places = dictionary.reset_ctx, _downloaders(gluoncv, mx)
    dictionary.reset_ctx = lambda self, ctx: None
    for module, attribute, _ in places:
        setattr(module, attribute, refuse)
    try:
        yield
    finally:
        dictionary.reset_ctx = reset
        for module, attribute, function in places:
            setattr(module, attribute, function)


def _downloaders(gluoncv: Any, mx: Any) -> list[tuple[Any, str, Any]]:
    from gluoncv.model_zoo import model_store

    found = [(model_store, n) for n in ("get_model_file", "download")]
    found += [(mx.gluon.model_zoo.model_store, "get_model_file"), (mx.gluon.utils, "download")]
    return [(module, n, getattr(module, n)) for module, n in found if hasattr(module, n)]


def build(name: str, small: bool) -> tuple[Any, tuple[tuple[int, ...], ...], str]:
    """(network, with settled random values; shapes of its inputs; family). Raises Download, or
    whatever GluonCV raises."""
    import mxnet as mx

    rule = entry(name)
    mx.random.seed(1)
    np.random.seed(1)
    net = _construct(name, {**rule.options, **(rule.small_options if small else {})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _limit_regions(net, 16 if small else 100)
        net.initialize(_Random(), force_reinit=True)
        # Residual branches add up: in deep networks the numbers would explode.
        for variance in net.collect_params(".*_var$").values():
            variance.initialize(mx.init.Constant(2.5), force_reinit=True)
    return net, rule.small if small else rule.full, rule.family


def _limit_regions(net: Any, count: int) -> None:
    """Detectors of two stages look at so many regions, not at a thousand."""
    if hasattr(net, "rpn"):
        net.rpn._test_post_nms = net._rpn_test_post_nms = count
    if hasattr(net, "_rcnn_max_dets"):
        net._rcnn_max_dets = count


def _construct(name: str, options: dict[str, Any]) -> Any:
    """GluonCV's own constructor; arguments that it does not take are left out, one at a time."""
    from gluoncv import model_zoo

    options = {"pretrained": False, "pretrained_base": False, **options}
    if NEED_CLASSES.search(name):
        options["classes"] = CLASSES
    if name.startswith("custom_"):
        options.pop("pretrained")
    while True:
        try:
            with offline():
                return model_zoo.get_model(name, **options)
        except TypeError as error:
            refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if not refused or refused[1] not in options:
                raise
            del options[refused[1]]
        except Warning:  # how darknet53 says that it takes no other argument
            if options.pop("pretrained_base", None) is None:
                raise


def _Random():  # noqa: N802 - an initializer
    import mxnet as mx

    class Random(mx.init.Initializer):
        """Weights whose sums neither vanish nor explode, whatever their shape. Gluon asks for a
        weight even where a symbol's variable is something else: the name tells."""

        def _init_weight(self, name: Any, array: Any) -> None:
            if re.search("(gamma|var)$", name):
                array[:] = 1
            elif re.search("(bias|beta|mean)$", name):
                mx.nd.random.normal(0, 0.01, out=array)
            else:
                fan = int(np.prod(array.shape[1:])) if len(array.shape) > 1 else 1
                mx.nd.random.normal(0, float(np.sqrt(2 / max(fan, 1))), out=array)

    return Random()
