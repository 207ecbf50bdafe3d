"""How channels go through each operator; importing this package fills ``propagation.RULES``."""

from gluonzip.passes.prune.rules import elementwise, reduction, shaping, weighted

__all__ = ["elementwise", "reduction", "shaping", "weighted"]
