// Part of implicit_gemm.inl.h: epilogue.h, on accumulators in registers.

template <int V>
GLZ_INLINE void load_residual(const Epilogue& e, int64_t row, int64_t channel, int64_t count,
                              Simd::F (&x)[V]) {
  const int64_t at = row * e.residual_stride + channel;
  const float* f = static_cast<const float*>(e.residual) + at;
  const uint8_t* u = static_cast<const uint8_t*>(e.residual) + at;
  const bool codes = e.residual_type == ElementType::kU8;
  for (int v = 0; v < V; ++v) {
    const int64_t at_v = int64_t{v} * Simd::kLanes, valid = count - at_v;
    if (valid >= Simd::kLanes) {
      x[v] = codes ? Simd::load_codes(u + at_v) : Simd::load(f + at_v);
    } else {
      x[v] = codes ? Simd::load_codes(u + at_v, valid) : Simd::load(f + at_v, valid);
    }
  }
}

template <typename T, typename X, int V>
GLZ_INLINE void store_row(T* to, const X (&x)[V], int64_t count) {
  for (int v = 0; v < V; ++v) {
    const int64_t at_v = int64_t{v} * Simd::kLanes, valid = count - at_v;
    if (valid >= Simd::kLanes) {
      Simd::store(to + at_v, x[v]);
    } else {
      Simd::store(to + at_v, x[v], valid);
    }
  }
}

// One output row's accumulators. For output u8, e.lo and e.hi are already within [-127, 127].
template <int V>
GLZ_INLINE void finish_row(const Epilogue& e, const Kernel::Acc (&acc)[V], int64_t row,
                           int64_t channel, int64_t count) {
  const int64_t at = row * e.output_stride + channel;
  if constexpr (Kernel::kInteger) {
    if (e.output_type == ElementType::kS32) {
      return store_row(static_cast<int32_t*>(e.output) + at, acc, count);
    }
  }
  Simd::F y[V];
  for (int v = 0; v < V; ++v) {
    const int64_t at_v = channel + int64_t{v} * Simd::kLanes;
    y[v] = Simd::to_float(acc[v]);
    if (Kernel::kInteger || e.multiplier != nullptr)
      y[v] = Simd::mul(y[v], Simd::load(e.multiplier + at_v));
    if (Kernel::kInteger || e.bias != nullptr) y[v] = Simd::add(y[v], Simd::load(e.bias + at_v));
  }
  if (e.residual != nullptr) {
    Simd::F x[V];
    load_residual(e, row, channel, count, x);
    const Simd::F factor = Simd::set(e.residual_multiplier);
    for (int v = 0; v < V; ++v) y[v] = Simd::add(y[v], Simd::mul(x[v], factor));
  }
  if (e.leaky) {
    for (int v = 0; v < V; ++v) y[v] = Simd::leaky(y[v], Simd::set(e.slope));
  }
  for (int v = 0; v < V; ++v) y[v] = Simd::clamp(y[v], Simd::set(e.lo), Simd::set(e.hi));
  if (e.output_type == ElementType::kU8) {
    Simd::store_codes(static_cast<uint8_t*>(e.output) + at, y, count);
  } else {
    store_row(static_cast<float*>(e.output) + at, y, count);
  }
}
