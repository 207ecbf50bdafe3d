#include "../epilogue_scalar.h"
#include "contract.h"
#include "packing.h"

namespace glz::reference {
namespace {

size_t workspace_bytes(const ConvGeometry&) { return 0; }

int32_t sum(const BitmapView& w, const ConvS8Args& a, const uint8_t* x, int64_t channel) {
  int32_t sum = w.start[channel];
  const int8_t* from = w.bytes + w.begin[channel];
  for (int64_t k = 0; k < a.geometry.channels; ++k) {
    const uint64_t mask = w.masks[channel * w.groups + k / kBitmapGroup];
    if ((mask >> (k % kBitmapGroup) & 1) != 0) sum += x[k] * *from++;
  }
  return sum;
}

void run(const ConvS8Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  const ConvGeometry& g = a.geometry;
  const BitmapView w(static_cast<const char*>(a.packed), g.out_channels, g.channels);
  for (int64_t row = row_begin; row < row_end; ++row) {
    const uint8_t* x = a.input + row * g.stride_c;
    for (int64_t c = panel_begin * kBitmapPanel; c < panel_end * kBitmapPanel && c < g.out_channels;
         ++c) {
      store_epilogue(a.epilogue, row, c, sum(w, a, x, c));
    }
  }
}

}  // namespace

extern const BitmapS8Kernel bitmap_s8 = {kBitmapPanel, 1, workspace_bytes, run, false};

}  // namespace glz::reference
