// conv_s8 with weights in blocks of 4 x 1: four consecutive input channels of
// one output channel are present or absent together. Same arguments, same sums,
// same epilogue as conv_s8, to the bit.
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

struct SparseS8Kernel {
  // Both from [out_channels][kh][kw][channels]; n, h, w, oh, ow do not matter
  // to them.
  size_t (*packed_bytes)(const ConvGeometry&, const int8_t* weights);
  void (*pack)(const ConvGeometry&, const int8_t* weights, void* packed);
  size_t (*workspace_bytes)(const ConvGeometry&);
  int64_t panel;
  int64_t tile_rows;
  void (*run)(const ConvS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  bool fast;  // whether it was written for this ISA; the reference never beats a
              // dense kernel
};

}  // namespace glz
