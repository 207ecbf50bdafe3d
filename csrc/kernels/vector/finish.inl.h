// epilogue.h on one output row's accumulators. Included after Vector.

#include "codes.inl.h"

GLZ_INLINE void load_residual(const Epilogue& e, int64_t at, int64_t n, Vector::F* x) {
  if (holds_codes(e.residual_type)) {
    const uint8_t* p = static_cast<const uint8_t*>(e.residual) + at;
    const int zero = zero_byte(e.residual_type);
    *x = n >= Vector::kLanes ? Vector::load_codes(p, zero) : Vector::load_codes(p, zero, n);
  } else {
    *x = Vector::load_floats(static_cast<const float*>(e.residual) + at, n);
  }
}

// V vectors of int32 or float, each with a valid channel; `count` channels, at most all, are valid.
// For output codes, e.lo and e.hi are already within_codes.
template <bool kInteger, typename Acc, int V>
GLZ_INLINE void finish_row(const Epilogue& e, const Acc (&acc)[V], int64_t row, int64_t channel,
                           int64_t count) {
  constexpr int64_t kLanes = Vector::kLanes;
  const int64_t at = row * e.output_stride + channel;
  if constexpr (kInteger) {
    if (e.output_type == ElementType::kS32) {
      int32_t* out = static_cast<int32_t*>(e.output) + at;
      for (int v = 0; v < V; ++v) Vector::store_ints(out + v * kLanes, acc[v], count - v * kLanes);
      return;
    }
  }
  Vector::F y[V];
  for (int v = 0; v < V; ++v) {
    const int64_t c = channel + v * kLanes;
    y[v] = Vector::to_float(acc[v]);
    if (e.multiplier != nullptr) y[v] = Vector::mul(y[v], Vector::load(e.multiplier + c));
    if (e.bias != nullptr) y[v] = Vector::add(y[v], Vector::load(e.bias + c));
    if (e.residual != nullptr) {
      Vector::F x;
      load_residual(e, row * e.residual_stride + c, count - v * kLanes, &x);
      y[v] = Vector::add(y[v], Vector::mul(x, Vector::set(e.residual_multiplier)));
    }
    if (e.leaky) y[v] = Vector::leaky(y[v], Vector::set(e.slope));
    y[v] = Vector::clamp(y[v], Vector::set(e.lo), Vector::set(e.hi));
  }
  if (holds_codes(e.output_type)) {
    const auto codes = Vector::codes(zero_byte(e.output_type));
    return Vector::store_codes(static_cast<uint8_t*>(e.output) + at, y, codes, count);
  }
  float* out = static_cast<float*>(e.output) + at;
  for (int v = 0; v < V; ++v) Vector::store_floats(out + v * kLanes, y[v], count - v * kLanes);
}
