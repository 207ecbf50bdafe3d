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
  // Weights are packed by sparse_conv/packer.h; for single pixels (SparseForm) they take no planes.
  size_t (*workspace_bytes)(const ConvGeometry&);
  int64_t panel;
  int64_t tile_rows;
  int64_t lanes;  // pixels in a vector
  void (*run)(const SparseS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  bool fast;  // whether it was written for this ISA; the reference never beats a
              // dense kernel
};

}  // namespace glz
