#include <cstring>

#include "../epilogue_scalar.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

size_t packed_bytes(const ConvGeometry& g, int64_t width) {
  return g.channels * g.kh * g.kw * width;
}
void pack(const ConvGeometry& g, int64_t width, const int8_t* weights, void* packed) {
  std::memcpy(packed, weights, packed_bytes(g, width));
}

int32_t sum(const GroupedS8Args& a, int64_t row, int64_t channel) {
  const ConvGeometry& g = a.geometry;
  const OutputPixel pixel = output_pixel(g, row);
  const int8_t* w = static_cast<const int8_t*>(a.packed) + channel * g.kh * g.kw * a.width;
  int32_t acc = 0;
  for (int64_t tap = 0; tap < g.kh * g.kw; ++tap, w += a.width) {
    const int64_t offset = tap_offset(g, pixel, tap / g.kw, tap % g.kw);
    if (offset < 0) continue;
    const uint8_t* x = a.input + offset + channel / a.width * a.width;
    for (int64_t c = 0; c < a.width; ++c) acc += static_cast<int32_t>(x[c] - g.zero) * w[c];
  }
  return acc;
}

void run(const GroupedS8Args& a, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  for (int64_t row = begin * g.ow; row < end * g.ow; ++row) {
    for (int64_t c = 0; c < g.channels; ++c) store_epilogue(a.epilogue, row, c, sum(a, row, c));
  }
}

}  // namespace

extern const GroupedS8Kernel grouped_s8 = {packed_bytes, pack, run, 32};

}  // namespace glz::reference
