"""Every form of a report says the same facts."""

import base64
import json
import math
from html.parser import HTMLParser

import pytest
from matplotlib.image import imread

from gluonzip.auto import Diagnosis, LayerError, Quality
from gluonzip.report import (
    Agreement,
    ArchiveBytes,
    Histogram,
    Latency,
    LayerFacts,
    Machine,
    Report,
    Section,
    Stage,
)


def make(**changes):
    facts = {
        "name": "tiny",
        "machine": Machine("A CPU", 2, "avx2", 2, 1, {"numpy": "1.23.5"}),
        "samples": 1000,
        "dense_bytes": 8000,
        "dense_accuracy": 0.985,
        "engine_accuracy": 0.983,
        "stages": (Stage("dense", 0.985, 8500, 1.25), Stage("prune", 0.984, 900, 2.0)),
        "layers": (
            LayerFacts("fc", "Dense", (10, 199), 2000, 0.9, 8, 8, 8000, 400, "gap 4-bit", True),
            LayerFacts(
                "out", "Dense", (1, 2), 2, 0.0, 32, 32, 8, 8, "raw", False, "not pruned: why | not"
            ),
        ),
        "archive": ArchiveBytes(
            500, 32, 60, 8, (Section("fc.weight", "int8", (10, 199), "gap 4-bit", 8, 0.9, 400),)
        ),
        "latency": (Latency(1, 0.2, 0.05, 150), Latency(64, 1.0, 2.0, 150)),
        "agreement": Agreement(1000, 999, 0.25),
        "histograms": (Histogram("fc", 0.5, (1, 2, 3), (0, 1, 1), 4),),
        "seconds": 61.7,
    }
    return Report(**{**facts, **changes})


def test_ratio_and_drop():
    report = make()
    assert report.ratio == 16
    assert report.drop == pytest.approx(0.2)
    assert make(dense_accuracy=None).drop is None


@pytest.mark.parametrize("form", ["to_markdown", "to_text"])
def test_tables_hold_every_fact(form):
    text = getattr(make(), form)()
    for fact in (
        "98.50 %",
        "98.30 %",
        "-0.20 points",
        "8,000",
        "16.0x smaller",
        "0.200 ms",
        "4.0x faster",
        "2.0x slower",
        "999 of 1,000 samples (99.90 %)",
        "A CPU, 2 cores",
        "set OMP_NUM_THREADS",
        "10x199",
        "90.0 %",
        "20.0x",
        "not pruned: why",
        "fc.weight",
        "index (graph, names, checksums)",
    ):
        assert fact in " ".join(text.split()), fact


def test_markdown_tables_are_well_formed():
    tables = [block for block in make().to_markdown().split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        columns = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(columns) == 1


def test_json_keeps_every_fact():
    report = make()
    facts = json.loads(report.to_json())
    assert facts["ratio"] == 16
    assert facts["layers"][0]["name"] == "fc"
    assert facts["archive"]["total"] == 500
    assert facts["agreement"] == {"samples": 1000, "same_answer": 999, "largest_difference": 0.25}
    assert facts["histograms"][0]["before"] == [1, 2, 3]


def test_without_validation_data():
    report = make(
        samples=0,
        dense_accuracy=None,
        engine_accuracy=None,
        agreement=None,
        stages=(Stage("dense", None, 8500, 1.0), Stage("quantize", None, 900, 1.0)),
    )
    assert "| accuracy on 0 samples | - | - |  |" in report.to_markdown()
    assert json.loads(report.to_json())["drop"] is None


def test_save_writes_text_and_pictures(tmp_path):
    written = make().save(tmp_path / "new" / "folder")
    assert [path.name for path in written] == [
        "report.md",
        "report.json",
        "report.html",
        "stages.png",
        "weights.png",
    ]
    for path in written[3:]:
        picture = imread(path)
        assert picture.shape[0] > 200
        assert picture[..., :3].std() > 0.02, "an empty picture"


def test_pictures_without_accuracy_or_histograms(tmp_path):
    report = make(histograms=(), stages=(Stage("dense", None, 8500, 1.0),))
    assert all(path.stat().st_size > 0 for path in report.save(tmp_path))


def test_the_picture_of_a_deep_network_stays_of_a_size(tmp_path):
    shallow, deep = (
        tuple(Histogram(f"layer{i}", 1.0, (i, 1), (0, 1), i) for i in range(count))
        for count in (24, 90)
    )
    sizes = []
    for name, histograms in (("a", shallow), ("b", deep)):
        path = make(histograms=histograms).save(tmp_path / name)[4]
        sizes.append(imread(path).shape)
    assert sizes[0] == sizes[1]


def diagnosis():
    layers = (
        LayerError("fc", "dense", Quality(12.5, 0.97), Quality(11.0, 0.96), None, None, 10, (3,)),
        LayerError("out", "dense", None, Quality(math.inf, 1.0), None, None, 2, (), "why | not"),
    )
    return Diagnosis(
        "dense", "tiny", 64, layers, ("fc", "out"), {"y": Quality(20.0, 0.99)}, {"x": "no <such>"},
        ("fc: prune it less",),
    )  # fmt: skip


@pytest.mark.parametrize("form", ["to_markdown", "to_text"])
def test_errors_of_the_layers_are_in_every_form(form):
    text = getattr(make(diagnosis=diagnosis()), form)()
    for fact in ("Errors by layer", "12.5", "0.9700", "1 of 10", "equal", "no <such>"):
        assert fact in " ".join(text.split()), fact
    facts = json.loads(make(diagnosis=diagnosis()).to_json())["diagnosis"]
    assert facts["layers"][1]["accumulated"]["sqnr"] == "inf"
    assert facts["advice"] == ["fc: prune it less"]


def test_html_holds_the_tables_and_the_pictures(tmp_path):
    written = make(diagnosis=diagnosis()).save(tmp_path)
    assert [path.name for path in written][-1] == "errors.png"
    html = (tmp_path / "report.html").read_text()
    for picture in ("stages", "weights", "errors"):
        data = base64.b64encode((tmp_path / f"{picture}.png").read_bytes()).decode()
        assert data in html
    for fact in ("98.30 %", "no &lt;such&gt;", "fc: prune it less", "10x199"):
        assert fact in html
    pages = HTMLParser()
    pages.feed(html)
    assert html.count("<table>") == html.count("</table>") == 7
    assert "![errors by layer](errors.png)" in (tmp_path / "report.md").read_text()
