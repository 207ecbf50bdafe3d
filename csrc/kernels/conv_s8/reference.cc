#include <cstring>

#include "../epilogue_scalar.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

size_t packed_bytes(const ConvGeometry& g) {
  return g.out_channels * g.kh * g.kw * g.channels * sizeof(int8_t);
}
void pack(const ConvGeometry& g, const int8_t* weights, void* packed) {
  std::memcpy(packed, weights, packed_bytes(g));
}
size_t workspace_bytes(const ConvGeometry&) { return 0; }

int32_t sum(const ConvS8Args& a, int64_t row, int64_t channel) {
  const ConvGeometry& g = a.geometry;
  const OutputPixel pixel = output_pixel(g, row);
  const int8_t* w = static_cast<const int8_t*>(a.packed) + channel * g.kh * g.kw * g.channels;
  int32_t acc = 0;
  for (int64_t i = 0; i < g.kh; ++i) {
    for (int64_t j = 0; j < g.kw; ++j, w += g.channels) {
      const int64_t offset = tap_offset(g, pixel, i, j);
      if (offset < 0) continue;
      const uint8_t* x = a.input + offset;
      for (int64_t c = 0; c < g.channels; ++c) {
        acc += static_cast<int32_t>(x[c] - g.zero) * w[c];
      }
    }
  }
  return acc;
}

void run(const ConvS8Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t c = panel_begin; c < panel_end; ++c) {
      store_epilogue(a.epilogue, row, c, sum(a, row, c));
    }
  }
}

}  // namespace

// A panel is one channel, a tile one row.
extern const ConvS8Kernel conv_s8 = {packed_bytes, pack, workspace_bytes, 1, 1, run};

}  // namespace glz::reference
