"""The diagnosis that goes into a report."""

from __future__ import annotations

import numpy as np

from gluonzip.auto import Diagnosis, diagnose
from gluonzip.errors import GluonzipError
from gluonzip.graph import Graph

SAMPLES = 64
"""Enough to rank layers by, and cheap next to everything else."""


def errors_of_layers(
    dense: Graph, compressed: Graph, sample: tuple[np.ndarray, ...], threads: int
) -> Diagnosis:
    """What runs against the dense network, on the first samples of ``sample``.

    A diagnosis that fails must not cost the run that it is of: it says why, and is empty otherwise.
    """
    try:
        return diagnose(dense, compressed, [(sample,)], samples=SAMPLES, threads=threads)
    except GluonzipError as error:
        reason = " ".join(str(error).split())
        return Diagnosis(dense.name, compressed.name, 0, (), (), {}, {"(every layer)": reason})
