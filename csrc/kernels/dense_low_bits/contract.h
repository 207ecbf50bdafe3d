// int8 dense products whose weights have few bits: packed in memory, codes again in registers.
//
// For products of few rows, which wait for their weights. The accumulator is that of conv_s8:
//
//   acc[r][c] = sum over k of (x - zero) * code        x: biased bytes, zero: the byte of 0
//
// A code is factor * n - offset, n an unsigned integer of 1, 2 or 4 bits (packing.h), so
//
//   acc = factor * sum of x * n - offset * sum of x - zero * sum of codes
//
// with the second sum once a row and the third, packed, once a channel.
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

// One row of the kernel table for one ISA. The arguments are those of conv_s8 for a geometry of one
// tap, without strides or pads: row r is `channels` bytes from input + r * stride_c. `packed` is
// from pack_low_bits(), the same for every ISA.
struct DenseLowBitsKernel {
  int64_t panel;      // output channels; parallel work splits at multiples
  int64_t tile_rows;  // rows; likewise
  size_t (*workspace_bytes)(const ConvGeometry&);
  void (*run)(const ConvS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  // Up to how many rows it is faster than conv_s8 (measured); 0: never.
  int64_t most_rows;
};

}  // namespace glz
