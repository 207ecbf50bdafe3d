"""What compression does to each layer, measured: diagnosis and sensitivity.

MXNet is imported when a Gluon network is given, and not for graphs and archives.
"""

from gluonzip.auto.diagnose import diagnose
from gluonzip.auto.sensitivity import sensitivity
from gluonzip.report.diagnosis import Diagnosis, InputRange, LayerError, Quality, WeightError
from gluonzip.report.sensitivity import LayerSensitivity, Point, Sensitivity

__all__ = [
    "Diagnosis",
    "InputRange",
    "LayerError",
    "LayerSensitivity",
    "Point",
    "Quality",
    "Sensitivity",
    "WeightError",
    "diagnose",
    "sensitivity",
]
