"""What compression does to each layer, measured: diagnosis and sensitivity.

MXNet is imported when a Gluon network is given, and not for graphs and archives.
"""

from gluonzip.auto.diagnose import diagnose
from gluonzip.report.diagnosis import Diagnosis, InputRange, LayerError, Quality, WeightError

__all__ = [
    "Diagnosis",
    "InputRange",
    "LayerError",
    "Quality",
    "WeightError",
    "diagnose",
]
