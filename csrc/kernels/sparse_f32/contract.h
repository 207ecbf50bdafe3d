// conv_f32 without its zero weights, one by one: an infinity or NaN in the
// input that meets only zeros leaves no trace. Same tolerance as conv_f32
// otherwise; tensors may be in planes of words instead of pixels x channels
// (output and residual in planes: both float32, bias given).
#pragma once

#include "../conv_f32/contract.h"
#include "../sparse_conv/planes.h"

namespace glz {

struct SparseF32Args : ConvF32Args {
  PlanePitches pitch;
};

struct SparseF32Kernel {
  // See SparseS8Kernel.
  size_t (*workspace_bytes)(const ConvGeometry&);
  int64_t panel;
  int64_t tile_rows;
  int64_t lanes;  // pixels in a vector
  void (*run)(const SparseF32Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  bool fast;  // see SparseS8Kernel
};

}  // namespace glz
