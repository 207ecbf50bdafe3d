// epilogue.h on one output row's accumulators. Included after Vector.

GLZ_INLINE void load_residual(const Epilogue& e, int64_t at, int64_t n, Vector::F* x) {
  if (e.residual_type == ElementType::kU8) {
    const uint8_t* p = static_cast<const uint8_t*>(e.residual) + at;
    *x = n >= Vector::kLanes ? Vector::load_codes(p) : Vector::load_codes(p, n);
  } else {
    *x = Vector::load_floats(static_cast<const float*>(e.residual) + at, n);
  }
}

// V vectors of int32 or float, each with a valid channel; `count` channels are valid. For output
// u8, e.lo and e.hi are already within_codes.
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
  if (e.output_type == ElementType::kU8) {
    return Vector::store_codes(static_cast<uint8_t*>(e.output) + at, y, count);
  }
  float* out = static_cast<float*>(e.output) + at;
  for (int v = 0; v < V; ++v) Vector::store_floats(out + v * kLanes, y[v], count - v * kLanes);
}
