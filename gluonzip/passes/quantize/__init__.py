"""Quantization of graphs: where quantizers stand, their ranges, and from simulation to integers."""

from gluonzip.passes.quantize.calibrate import calibrate
from gluonzip.passes.quantize.insert import fake_quantize_weights, insert_fake_quantize
from gluonzip.passes.quantize.lower import lower
from gluonzip.passes.quantize.points import activation_points
from gluonzip.passes.quantize.separate import bare_sums, separate_epilogues
from gluonzip.passes.quantize.simulate import simulate

__all__ = [
    "activation_points",
    "bare_sums",
    "calibrate",
    "fake_quantize_weights",
    "insert_fake_quantize",
    "lower",
    "separate_epilogues",
    "simulate",
]
