"""How heavy the tails of trained weights are, and what eight bits of them weigh after coding.

    python scripts/weight_tails.py model.onnx ... --json tails.json

For every float32 tensor of two axes and 512 values or more in ONNX files: excess kurtosis (normal
0, Laplace 3), averaged by size, and the entropy of its codes at eight bits with one scale a tensor;
other floats count four bytes. What docs/sharing.md says about the distribution of weights comes
from here. Covers no target.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import benchmark
import numpy as np
import onnx
from onnx import numpy_helper

from gluonzip.passes.share import entropy_bits


def floats(path: Path) -> list[np.ndarray]:
    """The float32 tensors that a file holds, as initializers and as Constant nodes."""
    graph = onnx.load(str(path)).graph
    found = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    for node in graph.node:
        values = (a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value")
        found += map(numpy_helper.to_array, values)
    return [array for array in found if array.dtype == np.float32]


def excess_kurtosis(weight: np.ndarray) -> float:
    centred = weight.astype(np.float64) - weight.mean()
    variance = np.square(centred).mean()
    return float(np.power(centred, 4).mean() / variance**2 - 3) if variance else 0.0


def measure(path: Path) -> dict[str, Any]:
    arrays = floats(path)
    weights = [a for a in arrays if a.ndim >= 2 and a.size >= 512 and a.any()]
    total, size = sum(a.nbytes for a in arrays), sum(w.size for w in weights)
    coded = total - 4 * size
    for weight in weights:
        codes = np.rint(weight / (np.abs(weight).max() / 127)).astype(np.int64)
        coded += entropy_bits(np.bincount(codes.ravel() + 127)) / 8
    kurtosis = sum(w.size * excess_kurtosis(w) for w in weights) / max(size, 1)
    return {"file": path.name, "bytes": total, "kurtosis": kurtosis, "ratio": total / coded}


def main() -> None:
    parser = benchmark.parser(__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    options = parser.parse_args()
    print(f"{'file':40}{'fp32 bytes':>14}{'kurtosis':>10}{'fp32 / entropy':>16}")
    rows = []
    for path in options.files:
        rows.append(row := measure(path))
        print(f"{row['file']:40}{row['bytes']:14,}{row['kurtosis']:10.1f}{row['ratio']:15.2f}x")
    benchmark.finish(options, {"files": rows}, benchmark.Checks())


if __name__ == "__main__":
    main()
