// The layout of packed weights of few bits: LowBitsHeader, a correction for each channel (int32,
// -zero * sum of its codes), then panels of kLowBitsPanel channels, each `blocks` blocks of 64
// bytes. Byte 4 * c + j of a block is channel c's; its bits [width * q, width * (q + 1)) are n of
// k = terms * block + 4 * q + j. Beyond the last k and the last channel n is 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace glz {

constexpr int64_t kLowBitsPanel = 16;

struct LowBitsHeader {
  int32_t width;           // bits of n: 1, 2 or 4
  int32_t factor, offset;  // code = factor * n - offset
  int32_t terms;           // of k, in a block
  int64_t blocks;          // of a panel
  int64_t channels, inputs;
  int64_t corrections, panels;  // where they begin, in bytes from the header
};

// Bits that hold each of these codes as n: 1 for -1 and 1 alone, 2 for -1 to 1, 4 for -7 to 7;
// 0 when none does.
int low_bits_width(const int8_t* codes, int64_t count);

size_t low_bits_bytes(int64_t channels, int64_t inputs, int width);
// codes: [channels][inputs]; packed: 64-byte aligned.
void pack_low_bits(const int8_t* codes, int64_t channels, int64_t inputs, int width, int zero,
                   void* packed);

}  // namespace glz
