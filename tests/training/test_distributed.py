"""Two workers, a server and a scheduler on 127.0.0.1 through MXNet's own key-value store."""

import json
import os
import sys
from pathlib import Path

import distributed_worker
import numpy as np
import pytest

from gluonzip.errors import ConfigError
from gluonzip.training import Cluster
from gluonzip.training.launch import launch

ROOT = Path(__file__).parents[2]


def start(script, *arguments, workers=2):
    command = [sys.executable, str(script), *map(str, arguments)]
    variables = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}", "OMP_NUM_THREADS": "1"}
    return launch(command, workers, variables=variables, timeout=200)


def test_two_workers_end_with_the_same_masks_and_scales(tmp_path):
    assert start(distributed_worker.__file__, tmp_path) == 0
    workers = [dict(np.load(tmp_path / f"worker-{rank}.npz")) for rank in range(2)]
    assert any("mask" in name for name in workers[0])
    assert any("input_scale" in name for name in workers[0])
    assert workers[0].keys() == workers[1].keys()
    for name, value in workers[0].items():
        np.testing.assert_array_equal(value, workers[1][name], err_msg=name)
    found = [json.loads((tmp_path / f"worker-{r}.json").read_text())["accuracy"] for r in range(2)]
    _, alone = distributed_worker.run()
    assert found[0] == found[1]
    assert abs(found[0] - alone) < 0.03


@pytest.mark.slow
def test_a_cluster_goes_on_from_its_checkpoint(tmp_path):
    ends = []
    for _ in range(2):  # the second time the run is over: it is read, and nothing is trained
        assert start(distributed_worker.__file__, tmp_path) == 0
        ends.append(dict(np.load(tmp_path / "worker-1.npz")))
    for name, value in ends[0].items():
        np.testing.assert_allclose(value, ends[1][name], rtol=1e-6, err_msg=name)


def test_workers_that_part_are_told(tmp_path):
    script = tmp_path / "apart.py"
    script.write_text(
        "import mxnet as mx, sys\n"
        "from gluonzip.errors import DivergedError\n"
        "from gluonzip.training import Cluster\n"
        "cluster = Cluster()\n"
        "net = mx.gluon.nn.Dense(2, in_units=2)\n"
        "net.initialize(mx.init.Constant(cluster.rank))\n"
        "found = []\n"
        "for call in (lambda: cluster.agree('step', cluster.rank), lambda: "
        "cluster.synchronize(net)):\n"
        "    try:\n"
        "        call()\n"
        "    except DivergedError as error:\n"
        "        found.append(str(error))\n"
        "assert 'differ in step: [0, 1]' in found[0], found\n"
        "assert \"parameter 'weight' differs between the 2 workers\" in found[1], found\n"
        "cluster.barrier()\n"
    )
    assert start(script) == 0


def test_the_first_failure_ends_all(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        "import os, sys, time\n"
        "from gluonzip.training import Cluster\n"
        "rank = Cluster().rank\n"
        "if rank == 1:\n"
        "    os._exit(7)\n"
        "time.sleep(100)\n"
    )
    assert start(script) == 7


def test_outside_a_cluster(monkeypatch):
    for name in list(os.environ):
        if name.startswith("DMLC_"):
            monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=r"DMLC_ROLE is not set.*training\.launch --workers 2"):
        Cluster()
    with pytest.raises(ConfigError, match="kind = 'dist_async' .* workers must stay in step"):
        Cluster("dist_async")
