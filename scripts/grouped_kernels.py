"""Convolutions of narrow groups (ResNeXt) on their own, for bench_kernels.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip import _core


@dataclass(frozen=True)
class Groups:
    """A 3x3 convolution of ``channels`` in groups of ``width``, on ``size`` x ``size`` pixels."""

    channels: int
    width: int
    size: int

    @property
    def name(self) -> str:
        return f"{self.size} 3x3 {self.channels}, groups of {self.width}"

    @property
    def macs(self) -> int:
        return self.size**2 * self.channels * self.width * 9

    def geometry(self) -> dict[str, int]:
        size, channels = self.size, self.channels
        return {
            "n": 1, "h": size, "w": size, "channels": channels, "stride_c": channels,
            "kh": 3, "kw": 3, "sh": 1, "sw": 1, "pad_top": 1, "pad_left": 1, "dh": 1, "dw": 1,
            "oh": size, "ow": size, "out_channels": channels,
        }  # fmt: skip


# The stages of ResNeXt-50 32x4d, batch 1.
GROUPS = [Groups(128, 4, 56), Groups(256, 8, 28), Groups(512, 16, 14), Groups(1024, 32, 7)]


def measure(groups: Groups, isa: str, limit: float, rounds: int = 7) -> dict:
    """The kernel of narrow groups on one thread, by its CPU clock, relu and codes out."""
    g = groups.geometry()
    x = np.full(groups.size**2 * groups.channels + 64, 130, np.uint8)
    weights = np.ones((groups.channels, 3, 3, groups.width), np.int8)
    constants = np.zeros(groups.channels + 64, np.float32)
    tail = {
        "output": np.empty((groups.size**2, groups.channels), np.uint8), "output_type": "s8",
        "output_stride": groups.channels, "multiplier": constants, "bias": constants, "lo": 0.0,
    }  # fmt: skip
    run = _core.testing.run_conv
    seconds = min(run("grouped_s8", isa, g, x, weights, tail, 20) for _ in range(rounds))
    return {
        "shape": groups.name, "kind": "s8", "milliseconds": seconds * 1e3,
        "gmacs_per_second": groups.macs / seconds / 1e9, "gbytes_per_second": None,
        "share_of_limit": groups.macs / seconds / limit, "count": 1, "macs": groups.macs,
    }  # fmt: skip
