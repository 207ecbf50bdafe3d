#include "../epilogue_scalar.h"
#include "contract.h"

namespace glz::reference {
namespace {

void quantize(const float* x, float inverse_scale, uint8_t* codes, ElementType type,
              int64_t count) {
  for (int64_t i = 0; i < count; ++i) codes[i] = stored_code(x[i] * inverse_scale, type);
}

void dequantize(const uint8_t* codes, ElementType type, float scale, float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = code_value(codes[i], type) * scale;
}

void lookup(const uint8_t* codes, const uint8_t* table, uint8_t* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = table[codes[i]];
}

void add_u8(const CodesPair& p, float ma, float mb, bool leaky, float slope, float lo, float hi) {
  for (int64_t i = 0; i < p.count; ++i) {
    const float y = code_value(p.a[i], p.a_type) * ma + code_value(p.b[i], p.b_type) * mb;
    p.out[i] = stored_code(activate(y, leaky, slope, lo, hi), p.out_type);
  }
}

void mul_u8(const CodesPair& p, float m) {
  for (int64_t i = 0; i < p.count; ++i) {
    const float y = code_value(p.a[i], p.a_type) * code_value(p.b[i], p.b_type) * m;
    p.out[i] = stored_code(y, p.out_type);
  }
}

void add_f32(const float* a, const float* b, bool leaky, float slope, float lo, float hi,
             float* out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = activate(a[i] + b[i], leaky, slope, lo, hi);
}

void mix(const void* const* corners, ElementType x_type, float row_weight, float column_weight,
         float factor, void* out, ElementType out_type, int64_t count) {
  const auto value = [=](int corner, int64_t i) {
    return holds_codes(x_type) ? code_value(static_cast<const uint8_t*>(corners[corner])[i], x_type)
                               : static_cast<const float*>(corners[corner])[i];
  };
  for (int64_t i = 0; i < count; ++i) {
    const float left = value(0, i) * (1.0f - row_weight) + value(2, i) * row_weight;
    const float right = value(1, i) * (1.0f - row_weight) + value(3, i) * row_weight;
    const float y = (left * (1.0f - column_weight) + right * column_weight) * factor;
    store_value(out, out_type, i, y);
  }
}

void scale_shift(const void* x, ElementType x_type, float input_scale, const float* scale,
                 const float* shift, bool leaky, float slope, float lo, float hi, void* out,
                 ElementType out_type, float inverse_scale, int64_t rows, int64_t channels,
                 int64_t x_stride, int64_t out_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t i = row * x_stride + c;
      const float value = holds_codes(x_type)
                              ? code_value(static_cast<const uint8_t*>(x)[i], x_type) * input_scale
                              : static_cast<const float*>(x)[i];
      float y = activate(value * scale[c] + shift[c], leaky, slope, lo, hi);
      if (holds_codes(out_type)) y = y * inverse_scale;
      store_value(out, out_type, row * out_stride + c, y);
    }
  }
}

void planes_to_pixels_f32(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                          int64_t stride) {
  for (int64_t p = 0; p < pixels; ++p, out += stride) {
    for (int64_t k = 0; k < stride; ++k) out[k] = k < c ? x[k * plane + p] : 0.0f;
  }
}

void planes_to_pixels_u8(const float* x, float inverse_scale, uint8_t* out, ElementType type,
                         int64_t pixels, int64_t c, int64_t plane, int64_t stride) {
  for (int64_t p = 0; p < pixels; ++p, out += stride) {
    for (int64_t k = 0; k < stride; ++k) {
      out[k] = stored_code(k < c ? x[k * plane + p] * inverse_scale : 0.0f, type);
    }
  }
}

void pixels_to_planes_f32(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                          int64_t stride) {
  for (int64_t p = 0; p < pixels; ++p, x += stride) {
    for (int64_t k = 0; k < c; ++k) out[k * plane + p] = x[k];
  }
}

}  // namespace

extern const EltwiseKernel eltwise = {quantize,
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

}  // namespace glz::reference
