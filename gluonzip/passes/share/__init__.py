"""Weight sharing: codebooks, and the bits that weights cost. See docs/sharing.md."""

from gluonzip.passes.share.kmeans import Codebook, kmeans, nearest
from gluonzip.passes.share.rate import (
    Assignment,
    entropy_bits,
    entropy_constrained,
    keep_by_rate,
)

__all__ = [
    "Assignment",
    "Codebook",
    "entropy_bits",
    "entropy_constrained",
    "keep_by_rate",
    "kmeans",
    "nearest",
]
