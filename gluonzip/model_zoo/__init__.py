"""Networks that we train ourselves, the way to everybody else's, and the recipes' own runs."""

from gluonzip.model_zoo.digits import Digits, load_digits
from gluonzip.model_zoo.models import OWN, get_model
from gluonzip.model_zoo.runner import run

__all__ = ["OWN", "Digits", "get_model", "load_digits", "run"]
