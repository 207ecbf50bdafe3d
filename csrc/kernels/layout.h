// How the engine keeps activations in memory; every kernel assumes this.
//
// Pixels x channels: a logical (N, C, H, W) tensor, or (N, C) with H = W = 1, is stored as N*H*W
// rows (n, h, w) of `stride` elements each, the first C of them used. stride = channel_stride(C).
//   float32: pad lanes hold anything finite.
//   int8   : stored biased, as uint8 = code + 128, so that it can be the unsigned operand of
//            vpdpbusd; pad lanes hold anything (packed weights are zero there); zero is byte 128.
// Buffers have 64 readable bytes past the last row.
#pragma once

#include <cstdint>

namespace glz {

constexpr int kBias = 128;  // stored byte = code + kBias
constexpr int kMaxCode = 127;
constexpr int64_t kChannelAlign = 4;

inline int64_t channel_stride(int64_t channels) {
  return (channels + kChannelAlign - 1) / kChannelAlign * kChannelAlign;
}

}  // namespace glz
