// 256-bit vectors.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx2 {
namespace {

#include "../vector/vector256.inl.h"

#include "eltwise.inl.h"
#include "transpose.inl.h"

void lookup(const uint8_t* codes, const uint8_t* table, uint8_t* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = table[codes[i]];
}

}  // namespace

extern const EltwiseKernel eltwise;
const EltwiseKernel eltwise = {quantize,
                               dequantize,
                               lookup,
                               add_u8,
                               mul_u8,
                               add_f32,
                               mix,
                               scale_shift,
                               planes_to_pixels_f32,
                               planes_to_pixels_u8,
                               pixels_to_planes_f32};

}  // namespace glz::avx2
