import pytest

from gluonzip import _core

ISAS = ["reference", "avx2", "avxvnni", "avx512bw", "avx512vnni"]


@pytest.fixture(scope="session", params=ISAS)
def isa(request):
    """Each instruction set in turn; those that the machine lacks show up as skipped."""
    if request.param not in _core.isas():
        pytest.skip(f"this machine has no {request.param}: {', '.join(_core.isas())}")
    return request.param
