"""GluonCV's networks through every stage: traced, quantized, compiled, compared."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("gluoncv")
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import zoo_build
import zoo_measure
import zoo_report

QUICK = {
    "cifar_resnet20_v1": "whole",
    "mobilenet0.25": "whole",
    "mobilenetv2_0.25": "whole",
    "mobile_pose_mobilenetv3_small": "whole",
    "yolo3_mobilenet0.25_voc": "2 segments: ",
    "ssd_300_mobilenet0.25_voc": "2 segments: ",
    "center_net_mobilenetv3_small_duc_voc": "2 segments: ",
}
"""Networks that take little, and how the engine shares them with MXNet."""
SLOW = [
    "resnest14", "se_resnet18_v1", "resnext50_32x4d", "densenet121", "inceptionv3", "shufflenet_v2",
    "fcn_resnet50_voc", "icnet_resnet50_citys", "fastscnn_citys", "danet_resnet50_citys",
    "hrnet_w18_small_v1_c", "cifar_residualattentionnet56", "nasnet_4_1056", "dla34", "vgg11_bn",
    "mask_rcnn_resnet18_v1b_coco", "faster_rcnn_resnet50_v1b_voc", "siamrpn_alexnet_v2_otb15",
    "r2plus1d_resnet18_kinetics400",
    "slowfast_4x16_resnet50_kinetics400", "i3d_nl5_resnet50_v1_kinetics400", "c3d_kinetics400",
    "monodepth2_resnet18_kitti_mono_640x192", "mobilenet1.0_int8", "simple_pose_resnet18_v1b",
]  # fmt: skip
"""One of each other family."""


def measured(name):
    row = {}
    zoo_measure.measure(name, row.update)
    assert row["status"] == "agrees", row
    return row


@pytest.mark.parametrize("name", QUICK)
def test_small_networks_run_and_agree(name):
    row = measured(name)
    assert row["macs_share"] > 0.98
    assert row["int8_layers"] == 1
    assert zoo_report.split(row).startswith(QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_one_of_each_family_runs_and_agrees(name):
    assert measured(name)["macs_share"] > 0.5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet50_v1b_ucf101", r"GluonCV downloads \S+ whatever is asked"),
        ("custom_faster_rcnn_fpn", "GluonCV itself fails to build it: UnboundLocalError"),
        ("resnet50_v1b_gn", "TraceError.*child 'bn1' .GroupNorm. failed with symbols"),
    ],
)
def test_what_cannot_be_built_is_declined_with_the_reason(name, reason):
    row = {}
    zoo_measure.measure(name, row.update)
    assert row["status"] == "declined"
    assert re.search(reason, row["reason"])


def test_every_name_has_a_rule():
    from gluoncv import model_zoo

    families = {zoo_build.entry(name).family for name in model_zoo.get_model_list()}
    assert len(families) > 40


def test_a_new_name_says_where_its_inputs_belong():
    with pytest.raises(KeyError, match="add one to RULES"):
        zoo_build.entry("transformer_xl")
