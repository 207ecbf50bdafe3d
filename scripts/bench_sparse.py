"""Zeros that pay: sparse products, layers and whole networks next to dense ones and the peers.

    python scripts/bench_sparse.py --check --plots runs/plots
    python scripts/bench_sparse.py --quick --only products

Four parts (--only): "products" of AlexNet's dense layers and ResNet-50's convolutions, from 0 to
98 % zeros, in 4x1 blocks (four neighbours in a row) and unstructured, int8 and float32, next to our
dense kernel, scipy.sparse, mx.nd.sparse.dot and PyTorch's CSR; "one-row", AlexNet's fc6 at batch 1
against the memory's limit; "layers" through the engine, what it chooses against its dense kernel;
"networks", ResNet-50 v1 and MobileNet 1.0 next to MXNet, ONNX Runtime and OpenVINO in int8 and to
DeepSparse in float32, time and peak memory. A peer that is not installed is named as missing.
Covers targets T4, T5, T6, T7 and the sparse part of T2. With --check only what the targets ask for
is measured: ResNet-50, fewer levels, shapes and repeats.

DeepSparse (its licence allows evaluation in development and testing, not production) needs Python
3.8 to 3.11 and packages of its own:

    python3.11 -m venv ~/deepsparse && ~/deepsparse/bin/pip install deepsparse==1.8.0
    python scripts/bench_sparse.py --deepsparse ~/deepsparse/bin/python

Without --deepsparse, $DEEPSPARSE_PYTHON is taken if it is set.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process: products are timed on one thread

from pathlib import Path

import benchmark
import sparse_layers
import sparse_networks
import sparse_plots
import sparse_products

PARTS = ["products", "one-row", "layers", "networks"]


def parse():
    parser = benchmark.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--all-shapes", action="store_true", help="every shape of ResNet-50")
    parser.add_argument("--networks", nargs="+", default=None)
    parser.add_argument("--batches", nargs="+", type=int, default=None, help="default: 1 and 16")
    parser.add_argument("--threads", type=int, default=benchmark.cores(), help="of networks")
    parser.add_argument("--rounds", type=int, default=None, help="turns that each side gets")
    parser.add_argument("--calls", type=int, default=None, help="calls a side makes in its turn")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"), help="of built models")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write plots as PNG files")
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=INTERPRETER")
    parser.add_argument(
        "--deepsparse", default=os.environ.get("DEEPSPARSE_PYTHON"), metavar="INTERPRETER",
        help="of an environment that has DeepSparse; see above",
    )  # fmt: skip
    options = parser.parse_args()
    options.batches = options.batches or ([1] if options.quick else [1, 16])
    options.rounds = options.rounds or (2 if options.quick else 3 if options.check else 4)
    if options.networks is None:
        options.networks = ["mobilenet1.0"] if options.quick else ["resnet50_v1"]
        if not (options.quick or options.check):
            options.networks += ["mobilenet1.0"]
    return options


def main() -> None:
    options = parse()
    facts = benchmark.machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}, {options.threads} threads")
    results, checks = {"threads": options.threads}, benchmark.Checks()
    if "networks" in options.only:
        results["networks"] = sparse_networks.run(options)
        sparse_networks.check(results["networks"], checks)
    if "products" in options.only:
        results["products"] = sparse_products.run(options)
        sparse_products.check(results["products"], checks)
    if "one-row" in options.only:
        results["one_row"] = sparse_products.run_one_row(options)
        sparse_products.check_one_row(results["one_row"], checks)
    if "layers" in options.only:
        results["layers"] = sparse_layers.run(options)
        sparse_layers.check(results["layers"], checks)
    if options.plots:
        for path in sparse_plots.save(results, options.plots):
            print(f"wrote {path}")
    benchmark.finish(options, results, checks)


if __name__ == "__main__":
    main()
