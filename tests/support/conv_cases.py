"""Convolutions for kernel tests: geometries, hypothesis strategies and the NumPy oracle."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Case:
    """``ConvGeometry`` of csrc/kernels/conv_s8/contract.h; (0, 0) pads at the bottom and right."""

    n: int = 1
    h: int = 1
    w: int = 1
    channels: int = 1
    extra_stride: int = 0
    kh: int = 1
    kw: int = 1
    sh: int = 1
    sw: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    dh: int = 1
    dw: int = 1
    out_channels: int = 1

    @property
    def oh(self) -> int:
        span = (self.kh - 1) * self.dh + 1
        return (self.h + self.pad_top + self.pad_bottom - span) // self.sh + 1

    @property
    def ow(self) -> int:
        span = (self.kw - 1) * self.dw + 1
        return (self.w + self.pad_left + self.pad_right - span) // self.sw + 1

    @property
    def rows(self) -> int:
        return self.n * self.oh * self.ow

    @property
    def stride_c(self) -> int:
        return self.channels + self.extra_stride

    def geometry(self) -> dict[str, int]:
        """What ``_core.PackedConvS8`` takes."""
        values = asdict(self)
        for name in ("extra_stride", "pad_bottom", "pad_right"):
            del values[name]
        return values | {"stride_c": self.stride_c, "oh": self.oh, "ow": self.ow}


def gemm(m: int, n: int, k: int) -> Case:
    return Case(w=m, channels=k, out_channels=n)


def square(size: int, channels: int, out: int, kernel: int, stride: int = 1, pad: int = 0) -> Case:
    return Case(
        h=size, w=size, channels=channels, kh=kernel, kw=kernel, sh=stride, sw=stride,
        pad_top=pad, pad_left=pad, pad_bottom=pad, pad_right=pad, out_channels=out,
    )  # fmt: skip


# One of each class of shapes that a kernel may treat in a way of its own.
SHAPES = {
    "one row": gemm(1, 130, 37),
    "few rows": gemm(5, 10, 257),
    "long sums": gemm(20, 70, 9001),
    "many rows": gemm(2100, 17, 4),
    "first layer": square(30, 3, 20, 7, stride=2, pad=3),
    "one channel": square(12, 1, 20, 5),
    "eleven by eleven": square(35, 3, 64, 11, stride=4, pad=2),
    "7x7 image": square(7, 70, 66, 3, pad=1),
    "1x1 with stride": square(9, 33, 34, 1, stride=2),
    "1x1 with padding": square(4, 12, 9, 1, pad=1),
    "deep 3x3": square(6, 300, 65, 3, pad=1),
    "twenty channels": square(10, 20, 50, 5),
    "padding wider than the image": square(2, 40, 16, 3, stride=2, pad=4),
}


WHOLE_VECTORS = [8, 16, 24, 32, 48, 64, 112, 128]
"""Output channels without a tail, which kernels finish in a way of their own."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small convolutions with every attribute odd: strides, pads, dilations, gaps, tails."""
    small = st.integers(1, 3)
    kernel = st.sampled_from([1, 1, 2, 3, 4])
    pad = st.integers(0, 2)
    kh, kw = draw(kernel), draw(kernel)
    dh, dw = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return Case(
        n=draw(small),
        h=draw(st.integers((kh - 1) * dh + 1, 12)),
        w=draw(st.integers((kw - 1) * dw + 1, 12)),
        channels=draw(st.one_of(st.integers(1, 20), st.integers(21, 80))),
        extra_stride=draw(st.sampled_from([0, 0, 1, 3, 8])),
        kh=kh, kw=kw, sh=draw(small), sw=draw(small),
        pad_top=draw(pad), pad_left=draw(pad), pad_bottom=draw(pad), pad_right=draw(pad),
        dh=dh, dw=dw,
        out_channels=draw(st.one_of(st.sampled_from(WHOLE_VECTORS), st.integers(1, 140))),
    )  # fmt: skip


def sums(case: Case, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accumulators (rows, O) of x (N, H, W, C) and weights (O, KH, KW, C), both of a wide type."""
    pads = ((0, 0), (case.pad_top, case.pad_bottom), (case.pad_left, case.pad_right), (0, 0))
    padded = np.pad(x, pads)
    total = np.zeros((case.rows, case.out_channels), x.dtype)
    for i in range(case.kh):
        for j in range(case.kw):
            top, left = i * case.dh, j * case.dw
            seen = padded[:, top :: case.sh, left :: case.sw][:, : case.oh, : case.ow]
            total += seen.reshape(case.rows, case.channels) @ weights[:, i, j].T
    return total
