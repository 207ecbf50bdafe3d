import os
import subprocess
import sys

import numpy as np
import pytest

from gluonzip import _core, runtime
from gluonzip.errors import GluonzipError, IsaError

NAMES = ["reference", "avx2", "avxvnni", "avx512bw", "avx512vnni", "avx512vbmi2"]


def test_isas_are_in_order_and_start_with_the_reference():
    found = runtime.isas()
    assert found[0] == "reference"
    assert found == [name for name in NAMES if name in found]
    assert runtime.best_isa() == found[-1]


def test_the_environment_names_the_instruction_set(monkeypatch):
    monkeypatch.setenv("GLUONZIP_ISA", "reference")
    assert runtime.resolve_isa() == "reference"
    assert runtime.resolve_isa(runtime.best_isa()) == runtime.best_isa()  # an argument wins
    monkeypatch.setenv("GLUONZIP_ISA", "")
    assert runtime.resolve_isa() == runtime.best_isa()


def test_unknown_name():
    wanted = "unknown instruction set 'sse9'; available: reference"
    with pytest.raises(IsaError, match=wanted):
        runtime.resolve_isa("sse9")
    with pytest.raises(GluonzipError, match=wanted):
        runtime.gemm_s8(np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8), isa="sse9")


def test_unknown_name_from_the_environment(monkeypatch):
    monkeypatch.setenv("GLUONZIP_ISA", "mmx")
    with pytest.raises(IsaError, match=r"'mmx' \(from the environment variable GLUONZIP_ISA\)"):
        runtime.resolve_isa()


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_known_instruction_set_that_the_machine_lacks(name):
    wanted = f"'{name}' is not available on this machine; available: reference$"
    with pytest.raises(IsaError, match=wanted):
        _core.testing.find_isa_on_bare_machine(name)


def test_cores_follow_the_affinity_of_the_process():
    assert runtime.cores() == len(os.sched_getaffinity(0))
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from gluonzip import runtime; assert runtime.cores() == 1, runtime.cores()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
