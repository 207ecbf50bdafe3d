"""What compression does to each layer, measured: diagnosis and sensitivity.

MXNet is imported when a Gluon network is given, and not for graphs and archives.
"""

from gluonzip.auto.choices import AutoResult, Choices, Step
from gluonzip.auto.diagnose import diagnose
from gluonzip.auto.mixed_precision import mixed_precision
from gluonzip.auto.post_training import quantize_automatically
from gluonzip.auto.sensitivity import sensitivity
from gluonzip.report.diagnosis import Diagnosis, InputRange, LayerError, Quality, WeightError
from gluonzip.report.precision import LayerPrecision, MixedPrecision
from gluonzip.report.sensitivity import LayerSensitivity, Point, Sensitivity

__all__ = [
    "AutoResult",
    "Choices",
    "Diagnosis",
    "InputRange",
    "LayerError",
    "LayerPrecision",
    "LayerSensitivity",
    "MixedPrecision",
    "Point",
    "Quality",
    "Sensitivity",
    "Step",
    "WeightError",
    "diagnose",
    "mixed_precision",
    "quantize_automatically",
    "sensitivity",
]
