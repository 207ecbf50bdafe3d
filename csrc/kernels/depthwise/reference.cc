#include <cstring>

#include "../epilogue_scalar.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

template <typename Weight>
size_t packed_bytes(const ConvGeometry& g) {
  return g.channels * g.kh * g.kw * sizeof(Weight);
}
template <typename Weight>
void pack(const ConvGeometry& g, const Weight* weights, void* packed) {
  std::memcpy(packed, weights, packed_bytes<Weight>(g));
}

int32_t product(uint8_t x, int8_t w, int64_t zero) { return static_cast<int32_t>(x - zero) * w; }
float product(float x, float w, int64_t) { return x * w; }

template <typename Accumulator, typename Weight, typename Args>
void run(const Args& a, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  for (int64_t row = begin * g.ow; row < end * g.ow; ++row) {
    const OutputPixel pixel = output_pixel(g, row);
    for (int64_t c = 0; c < g.channels; ++c) {
      const Weight* w = static_cast<const Weight*>(a.packed) + c * g.kh * g.kw;
      Accumulator acc = 0;
      for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
        const int64_t offset = tap_offset(g, pixel, tap / g.kw, tap % g.kw);
        if (offset >= 0) acc += product(a.input[offset + c], w[tap], g.zero);
      }
      store_epilogue(a.epilogue, row, c, acc);
    }
  }
}

}  // namespace

extern const DepthwiseS8Kernel depthwise_s8 = {packed_bytes<int8_t>, pack<int8_t>,
                                               run<int32_t, int8_t, DepthwiseS8Args>};
extern const DepthwiseF32Kernel depthwise_f32 = {packed_bytes<float>, pack<float>,
                                                 run<float, float, DepthwiseF32Args>};

}  // namespace glz::reference
