// int8 products of one row, or of very few, with sparse weights: a bit for each weight, and the
// bytes of those that are not zero.
//
// Such products wait for their weights. Any pattern of zeros costs the same: a group of 64 weights
// is 8 bytes and one more for each that is not zero, expanded in a register. The accumulator is
// that of conv_s8:
//
//   acc[r][c] = sum over k of (x - zero) * weight      x: biased bytes, zero: the byte of 0
//
// with -zero * sum of weights packed, once a channel.
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

// One row of the kernel table for one ISA. The arguments are those of conv_s8 for a geometry of one
// tap, without strides or pads: row r is `channels` bytes from input + r * stride_c. `packed` is
// from BitmapLayout (packer.h), the same for every ISA.
struct BitmapS8Kernel {
  int64_t panel;      // output channels; parallel work splits at multiples
  int64_t tile_rows;  // rows; likewise
  size_t (*workspace_bytes)(const ConvGeometry&);
  void (*run)(const ConvS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  bool fast;  // whether it was written for this ISA; the reference never beats another kernel
};

}  // namespace glz
