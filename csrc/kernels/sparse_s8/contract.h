// conv_s8 with weights in blocks of 4 x 1: four consecutive input channels of
// one output channel are present or absent together. Same sums, same epilogue
// as conv_s8, to the bit; tensors may be in planes of words instead of pixels x
// channels (output and residual in planes: both int8, multiplier and bias
// given).
#pragma once

#include "../conv_s8/contract.h"
#include "../sparse_conv/planes.h"

namespace glz {

struct SparseS8Args : ConvS8Args {
  PlanePitches pitch;
};

struct SparseS8Kernel {
  // Both from [out_channels][kh][kw][channels]; n, h, w, oh, ow do not matter
  // to them.
  size_t (*packed_bytes)(const ConvGeometry&, const int8_t* weights);
  void (*pack)(const ConvGeometry&, const int8_t* weights, void* packed);
  size_t (*workspace_bytes)(const ConvGeometry&);
  int64_t panel;
  int64_t tile_rows;
  void (*run)(const SparseS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  bool fast;  // whether it was written for this ISA; the reference never beats a
              // dense kernel
};

}  // namespace glz
