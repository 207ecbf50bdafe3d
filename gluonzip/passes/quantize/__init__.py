"""Quantization of graphs: where quantizers stand, their ranges, and from simulation to integers."""

from gluonzip.passes.quantize.calibrate import calibrate, collect, ranges
from gluonzip.passes.quantize.dynamic import split_dynamic
from gluonzip.passes.quantize.insert import fake_quantize_weights, insert_fake_quantize
from gluonzip.passes.quantize.lower import lower
from gluonzip.passes.quantize.observers import OBSERVERS, observe, observer
from gluonzip.passes.quantize.points import activation_points
from gluonzip.passes.quantize.separate import bare_sums, separate_epilogues, sum_ranges
from gluonzip.passes.quantize.simulate import expand_groups, simulate
from gluonzip.passes.quantize.statistics import Statistics

__all__ = [
    "OBSERVERS",
    "Statistics",
    "activation_points",
    "bare_sums",
    "calibrate",
    "collect",
    "expand_groups",
    "fake_quantize_weights",
    "insert_fake_quantize",
    "lower",
    "observe",
    "observer",
    "ranges",
    "separate_epilogues",
    "simulate",
    "split_dynamic",
    "sum_ranges",
]
