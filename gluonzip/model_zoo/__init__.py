"""Networks that we train ourselves, the way to everybody else's, and the digits they learn.

``gluonzip.model_zoo.runner`` runs recipes on them.
"""

from gluonzip.model_zoo.digits import Digits, load_digits
from gluonzip.model_zoo.models import OWN, get_model

__all__ = ["OWN", "Digits", "get_model", "load_digits"]
