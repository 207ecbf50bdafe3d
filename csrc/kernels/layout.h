// How the engine keeps activations in memory; every kernel assumes this.
//
// Pixels x channels: a logical (N, C, H, W) tensor, or (N, C) with H = W = 1, is stored as N*H*W
// rows (n, h, w) of `stride` elements each, the first C of them used. stride = channel_stride(C).
//   float32: pad lanes hold anything finite.
//   codes  : bytes, code + zero_byte(type), so that they can be the unsigned operand of vpdpbusd:
//            int8 (kS8) in [-127, 127] plus 128, uint8 (kU8) in [0, 255] as they are; pad lanes
//            hold anything (packed weights are zero there).
// Buffers have 64 readable bytes past the last row.
#pragma once

#include <cstdint>

namespace glz {

enum class ElementType : uint8_t { kF32, kS8, kU8, kS32 };

static inline constexpr bool holds_codes(ElementType type) {
  return type == ElementType::kS8 || type == ElementType::kU8;
}
// Of codes: the stored byte of code 0, and the range of the codes.
static inline constexpr int zero_byte(ElementType type) {
  return type == ElementType::kS8 ? 128 : 0;
}
static inline constexpr int lowest_code(ElementType type) {
  return type == ElementType::kS8 ? -127 : 0;
}
static inline constexpr int highest_code(ElementType type) {
  return type == ElementType::kS8 ? 127 : 255;
}
// The lowest stored byte there is, given the zero byte.
static inline constexpr uint8_t lowest_byte(int64_t zero) { return zero == 0 ? 0 : 1; }

constexpr int64_t kChannelAlign = 4;

inline int64_t channel_stride(int64_t channels) {
  return (channels + kChannelAlign - 1) / kChannelAlign * kChannelAlign;
}

}  // namespace glz
