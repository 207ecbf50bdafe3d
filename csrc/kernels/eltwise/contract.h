// Element-wise kernels over flat arrays, and conversions between layouts and types.
#pragma once

#include <cstdint>

#include "../epilogue.h"
#include "../layout.h"

namespace glz {

// Two operands and a result of codes, each of either type, `count` elements.
struct CodesPair {
  const uint8_t *a, *b;
  uint8_t* out;
  ElementType a_type, b_type, out_type;
  int64_t count;
};

struct EltwiseKernel {
  // codes = rint(clamp(x * inverse_scale, lowest_code, highest_code)) of that type
  void (*quantize)(const float* x, float inverse_scale, uint8_t* codes, ElementType type,
                   int64_t count);
  // x = float(code) * scale
  void (*dequantize)(const uint8_t* codes, ElementType type, float scale, float* x, int64_t count);
  // out = table[code]; table is indexed by the stored byte
  void (*lookup)(const uint8_t* codes, const uint8_t* table, uint8_t* out, int64_t count);
  // y = float(a) * ma + float(b) * mb (three roundings), leaky, clamp to [lo, hi], then rint: the
  // tail of an Epilogue.
  void (*add_u8)(const CodesPair& pair, float ma, float mb, bool leaky, float slope, float lo,
                 float hi);
  // y = float(a * b) * m, clamped to the codes, then rint
  void (*mul_u8)(const CodesPair& pair, float m);
  // y = a + b, leaky, clamp
  void (*add_f32)(const float* a, const float* b, bool leaky, float slope, float lo, float hi,
                  float* out, int64_t count);
  // Bilinear: t = top * (1 - row_weight) + bottom * row_weight for the left and the right corners
  // (order: top left, top right, bottom left, bottom right), then
  // y = (left * (1 - column_weight) + right * column_weight) * factor, then rint if codes. Codes
  // count as integers. Every step is rounded.
  void (*mix)(const void* const* corners, ElementType x_type, float row_weight, float column_weight,
              float factor, void* out, ElementType out_type, int64_t count);
  // y = x * scale[c] + shift[c], leaky, clamp, for `rows` rows of `channels` at the given strides;
  // f32 or codes in (dequantized by input_scale first) and out (times inverse_scale, rint).
  void (*scale_shift)(const void* x, ElementType x_type, float input_scale, const float* scale,
                      const float* shift, bool leaky, float slope, float lo, float hi, void* out,
                      ElementType out_type, float inverse_scale, int64_t rows, int64_t channels,
                      int64_t x_stride, int64_t out_stride);
  // Planes to pixels: x[c][plane], of which the first `pixels` are taken -> out[pixels][stride],
  // float32 or quantized on the way; stride is a multiple of kChannelAlign, and lanes past c become
  // zeros.
  void (*planes_to_pixels_f32)(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                               int64_t stride);
  void (*planes_to_pixels_u8)(const float* x, float inverse_scale, uint8_t* out, ElementType type,
                              int64_t pixels, int64_t c, int64_t plane, int64_t stride);
  // Pixels to planes, float32.
  void (*pixels_to_planes_f32)(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                               int64_t stride);
};

}  // namespace glz
