"""prune_channels on GluonCV's detection, segmentation and pose networks: backbones shrink, heads
that cannot are listed with the reason."""

import warnings

import mxnet as mx
import numpy as np
import pytest

from gluonzip.gluon import layers, prune_channels

# Name -> (side of the image, arguments, reasons that must be given).
NETWORKS = {
    "ssd_512_resnet50_v1_voc": (256, {}, ["box_decode", "greater_scalar"]),
    "ssd_512_mobilenet1.0_voc": (256, {}, ["box_decode", "greater_scalar"]),
    "yolo3_darknet53_voc": (128, {}, ["repeat"]),
    "yolo3_mobilenet1.0_voc": (128, {}, ["repeat"]),
    "fcn_resnet50_voc": (96, {"crop_size": 96, "base_size": 96}, ["output of the network"]),
    "psp_resnet50_ade": (96, {"crop_size": 96, "base_size": 96}, ["output of the network"]),
    "deeplab_resnet50_ade": (96, {"crop_size": 96, "base_size": 96}, ["output of the network"]),
    "center_net_resnet18_v1b_voc": (128, {}, ["gather_nd", "slice_like"]),
    "simple_pose_resnet18_v1b": (128, {}, ["output of the network"]),
    "faster_rcnn_resnet50_v1b_voc": (224, {}, ["ROIAlign", "box_decode"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_detectors_and_segmentation(name):
    cv = pytest.importorskip("gluoncv")
    size, options, reasons = NETWORKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = cv.model_zoo.get_model(name, pretrained=False, pretrained_base=False, **options)
    # (SSD has vectors that Xavier refuses.)
    net.initialize(mx.init.Normal(0.05) if name.startswith("ssd") else mx.init.Xavier())
    x = mx.nd.array(np.random.default_rng(0).standard_normal((1, 3, size, size)))
    expected = net(x)
    block, record = prune_channels(net, x.shape, ratio=0.3)
    actual = block(x)
    actual = actual if isinstance(actual, (list, tuple)) else [actual]
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    assert [a.shape for a in actual] == [e.shape for e in expected]
    assert all(np.isfinite(a.asnumpy()).all() for a in actual)
    count = sum(int(np.prod(p.shape)) for p in block._collect_params_with_prefix().values())
    assert count == record.parameters[1] < 0.75 * record.parameters[0]
    told = " ".join(record.untouched.values())
    for reason in reasons:
        assert reason in told, record.untouched
    silent = set(layers(block)) - set(record.removed) - set(record.untouched)
    assert not silent, f"neither pruned nor explained: {sorted(silent)}"
