"""Compressing Gluon networks: the only part of gluonzip that imports MXNet."""

from gluonzip.gluon._mxnet import mx as _mx  # noqa: F401 - first: its error is clear
from gluonzip.gluon.batch_norm import FreezeBatchNorm, freeze_batch_norm
from gluonzip.gluon.calibration import calibrate
from gluonzip.gluon.compiled import CompiledBlock
from gluonzip.gluon.copying import clone
from gluonzip.gluon.criteria import Movement, PruningTarget, loss_gradients
from gluonzip.gluon.distill import DistillationLoss, Distiller, Feature, Taps
from gluonzip.gluon.expansion import expand_symbols
from gluonzip.gluon.exporting import export, run_symbol
from gluonzip.gluon.extension.operators import load_extension
from gluonzip.gluon.finite import StopAtNan, check_step
from gluonzip.gluon.fisher import curvature
from gluonzip.gluon.graph_calibration import calibrate_graph
from gluonzip.gluon.handlers import Scheduled
from gluonzip.gluon.layers import Layer, layers, select
from gluonzip.gluon.legacy import import_symbol
from gluonzip.gluon.low_bits import LowerBits, QuantizeGradually, quantize_share, set_bits
from gluonzip.gluon.low_rank import factorize
from gluonzip.gluon.onnx_import import import_onnx
from gluonzip.gluon.penalties import BatchNormL1, GroupLasso, L1Penalty, PenalizedLoss
from gluonzip.gluon.post_training import Quantizer
from gluonzip.gluon.pruner import Pruner
from gluonzip.gluon.pruning import prune
from gluonzip.gluon.pruning_schedules import iterative, linear, one_shot, polynomial
from gluonzip.gluon.quantization import quantize, strip
from gluonzip.gluon.rate import prune_by_rate, round_biases
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.record import LayerRecord
from gluonzip.gluon.sharing import share, tie
from gluonzip.gluon.soft_sharing import MixturePrior, tie_penalty
from gluonzip.gluon.sparse import csr_ndarray, sparse_dot
from gluonzip.gluon.sparse_dense import SparseDense
from gluonzip.gluon.sparsity import Sparsity, sparsity
from gluonzip.gluon.structured import prune_channels
from gluonzip.gluon.tracing import trace, trace_symbol

__all__ = [
    "BatchNormL1",
    "CompiledBlock",
    "DistillationLoss",
    "Distiller",
    "Feature",
    "FreezeBatchNorm",
    "GraphBlock",
    "GroupLasso",
    "L1Penalty",
    "Layer",
    "LayerRecord",
    "LowerBits",
    "MixturePrior",
    "Movement",
    "PenalizedLoss",
    "Pruner",
    "PruningTarget",
    "QuantizeGradually",
    "Quantizer",
    "Scheduled",
    "SparseDense",
    "Sparsity",
    "StopAtNan",
    "Taps",
    "calibrate",
    "calibrate_graph",
    "check_step",
    "clone",
    "csr_ndarray",
    "curvature",
    "expand_symbols",
    "export",
    "factorize",
    "freeze_batch_norm",
    "import_onnx",
    "import_symbol",
    "iterative",
    "layers",
    "linear",
    "load_extension",
    "loss_gradients",
    "one_shot",
    "polynomial",
    "prune",
    "prune_by_rate",
    "prune_channels",
    "quantize",
    "quantize_share",
    "round_biases",
    "run_symbol",
    "select",
    "set_bits",
    "share",
    "sparse_dot",
    "sparsity",
    "strip",
    "tie",
    "tie_penalty",
    "trace",
    "trace_symbol",
]
