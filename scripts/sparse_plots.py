"""Plots of bench_sparse.py's figures, as PNG files in one folder."""

from __future__ import annotations

from pathlib import Path


def save(results: dict, folder: Path) -> list[Path]:
    """One file for the products, one a network and batch; what was not measured is left out."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    made = [_products(results["products"], folder)] if results.get("products") else []
    return made + [_network(row, folder) for row in results.get("networks", [])]


def _products(rows: list[dict], folder: Path) -> Path:
    """Speed against sparsity, a shape each: dense kernel / ours, dense kernel / each library."""
    import matplotlib.pyplot as plt

    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, grid = plt.subplots(
        len(shapes), 2, figsize=(11, 2.6 * len(shapes)), squeeze=False, sharex=True
    )
    for line, shape in zip(grid, shapes, strict=True):
        for axes, kind in zip(line, ("s8", "f32"), strict=True):
            for pattern, style in (("blocks", "-"), ("unstructured", "--")):
                mine = [r for r in rows if (r["shape"], r["kind"], r["pattern"]) ==
                        (shape, kind, pattern)]  # fmt: skip
                names = {"ours": "sparse_ms"} | {name: name for r in mine for name in r["peers_ms"]}
                for name in names:
                    points = [
                        (r["sparsity"], r["dense_ms"] / r["peers_ms"].get(name, r["sparse_ms"]))
                        for r in mine
                        if name == "ours" or name in r["peers_ms"]
                    ]
                    axes.plot(
                        *zip(*points, strict=True), style, marker=".", label=f"{name} {pattern}"
                    )
            axes.axhline(1, color="grey", linewidth=0.8)
            axes.set_yscale("log")
            axes.set_title(f"{shape} {kind}", fontsize=8)
            axes.legend(fontsize=6)
    for axes in grid[-1]:
        axes.set_xlabel("share of zeros")
    figure.supylabel("times as fast as our dense kernel")
    figure.tight_layout()
    path = folder / "sparse-products.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _network(row: dict, folder: Path) -> Path:
    """Milliseconds and peak memory of each side."""
    import matplotlib.pyplot as plt

    sides = sorted(row["ms"], key=row["ms"].__getitem__)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 0.3 * len(sides) + 1.2), sharey=True)
    colors = ["tab:blue" if side.startswith("gluonzip") else "tab:orange" for side in sides]
    left.barh(sides, [row["ms"][side] for side in sides], color=colors)
    left.set_xlabel("milliseconds a call")
    right.barh(sides, [row["peak_mb"][side] for side in sides], color=colors)
    right.set_xlabel("peak memory, MB")
    left.tick_params(labelsize=7)
    figure.suptitle(f"{row['network']}, batch {row['batch']}", fontsize=9)
    figure.tight_layout()
    path = folder / f"sparse-{row['network']}-{row['batch']}.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
