// Part of implicit_gemm.inl.h: epilogue.h, on accumulators in registers.

// An epilogue and what follows from it for a whole run.
struct Finish {
  Epilogue e;
  bool common;       // what finish_common computes; the rest is up to finish_any
  int zero = 0;      // of output codes
  float offset = 0;  // of a residual of codes: -zero * factor

  explicit Finish(const Epilogue& epilogue) : e(epilogue) {
    const auto usual = [](ElementType type) {
      return Kernel::kInteger ? holds_codes(type) : type == ElementType::kF32;
    };
    common = usual(e.output_type) && (e.residual == nullptr || usual(e.residual_type)) &&
             (Kernel::kInteger || (e.multiplier == nullptr && e.bias != nullptr));
    offset = -static_cast<float>(zero_byte(e.residual_type)) * e.residual_multiplier;
    if (!holds_codes(e.output_type)) return;
    zero = zero_byte(e.output_type);
    // Two clamps in a row are one: the activation's, then the code's.
    const float lowest = static_cast<float>(lowest_code(e.output_type));
    const float highest = static_cast<float>(highest_code(e.output_type));
    e.lo = e.lo < lowest ? lowest : (e.lo > highest ? highest : e.lo);
    e.hi = e.hi < lowest ? lowest : (e.hi > highest ? highest : e.hi);
  }
};

// An activation between layers: output and residual of the input's type. Of the last vector,
// `last` lanes are valid. kPlain: all of them, and the activation is a clamp.
// Rounding is monotonic, so that codes are raised to the lower bound when already packed.
template <bool kResidual, bool kPlain, int R, int V>
GLZ_INLINE void finish_common(const Finish& f, const Kernel::Acc (&acc)[R][V], int64_t row,
                              int64_t channel, int64_t last) {
  const bool full = kPlain || last == Simd::kLanes;
  const Epilogue& e = f.e;
  const float* multiplier = Kernel::kInteger ? e.multiplier + channel : nullptr;
  const float* bias = e.bias + channel;
  const Simd::F lo = Simd::set(e.lo), hi = Simd::set(e.hi);
  const Simd::F factor = Simd::set(e.residual_multiplier), offset = Simd::set(f.offset);
  const Simd::F slope = Simd::set(e.slope);
  const Simd::Codes codes = Simd::codes(e.lo, f.zero);
  using Element = Kernel::Input;
  Element* out = static_cast<Element*>(e.output) + row * e.output_stride + channel;
  const Element* residual = static_cast<const Element*>(e.residual);
  if constexpr (kResidual) residual += row * e.residual_stride + channel;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    Simd::F y[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      constexpr int kLanes = Simd::kLanes;
      y[v] = Simd::to_float(acc[r][v]);
      if constexpr (Kernel::kInteger) y[v] = Simd::mul(y[v], Simd::load(multiplier + v * kLanes));
      y[v] = Simd::add(y[v], Simd::load(bias + v * kLanes));
      if constexpr (kResidual) {
        const Element* from = residual + v * kLanes;
        y[v] = Simd::add(y[v], v + 1 < V || full ? Simd::scaled(from, factor, offset)
                                                 : Simd::scaled(from, factor, offset, last));
      }
    }
    if (!kPlain && e.leaky) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) y[v] = Simd::leaky(y[v], slope);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      y[v] = Simd::at_most(hi, y[v]);
      if constexpr (!Kernel::kInteger) {
        y[v] = Simd::at_least(lo, y[v]);
        if (v + 1 < V || full) {
          Simd::store(out + v * Simd::kLanes, y[v]);
        } else {
          Simd::store(out + v * Simd::kLanes, y[v], last);
        }
      }
    }
    if constexpr (Kernel::kInteger) {
      if (full) {
        Simd::store_codes(out, y, codes);
      } else {
        Simd::store_first_codes(out, y, codes, (V - 1) * Simd::kLanes + last);
      }
    }
    out += e.output_stride;
    if constexpr (kResidual) residual += e.residual_stride;
  }
}

// `n` lanes of one row, with every case that there is.
template <typename Acc>
GLZ_INLINE void finish_vector(const Finish& f, Acc acc, int64_t row, int64_t channel, int64_t n) {
  const Epilogue& e = f.e;
  const int64_t at = row * e.output_stride + channel;
  if constexpr (Kernel::kInteger) {
    if (e.output_type == ElementType::kS32) {
      return Simd::store(static_cast<int32_t*>(e.output) + at, acc, n);
    }
  }
  Simd::F y = Simd::to_float(acc);
  if (e.multiplier != nullptr) y = Simd::mul(y, Simd::load(e.multiplier + channel));
  if (e.bias != nullptr) y = Simd::add(y, Simd::load(e.bias + channel));
  if (e.residual != nullptr) {
    const int64_t from = row * e.residual_stride + channel;
    const Simd::F factor = Simd::set(e.residual_multiplier);
    const Simd::F offset = Simd::set(f.offset);
    const Simd::F x =
        holds_codes(e.residual_type)
            ? Simd::scaled(static_cast<const uint8_t*>(e.residual) + from, factor, offset, n)
            : Simd::scaled(static_cast<const float*>(e.residual) + from, factor, offset, n);
    y = Simd::add(y, x);
  }
  if (e.leaky) y = Simd::leaky(y, Simd::set(e.slope));
  y = Simd::at_most(Simd::set(e.hi), y);
  if (holds_codes(e.output_type)) {
    Simd::store_codes(static_cast<uint8_t*>(e.output) + at, y, Simd::codes(e.lo, f.zero), n);
  } else {
    Simd::store(static_cast<float*>(e.output) + at, Simd::at_least(Simd::set(e.lo), y), n);
  }
}

// `acc` is [rows][vecs]; `count` channels are valid.
__attribute__((noinline)) void finish_any(const Finish& f, const Kernel::Acc* acc, int64_t rows,
                                          int64_t row, int64_t channel, int64_t count) {
  for (const int64_t end = row + rows; row < end; ++row) {
    for (int64_t at = 0; at < count; at += Simd::kLanes) {
      finish_vector(f, *acc++, row, channel + at, least(Simd::kLanes, count - at));
    }
  }
}

template <int R, int V>
GLZ_INLINE void finish_tile(const Finish& f, const Kernel::Acc (&acc)[R][V], int64_t row,
                            int64_t channel, int64_t count) {
  if (f.common) {
    const int64_t last = count - (V - 1) * Simd::kLanes;
    if (f.e.residual == nullptr)
      return finish_common<false, false, R, V>(f, acc, row, channel, last);
    return finish_common<true, false, R, V>(f, acc, row, channel, last);
  }
  Kernel::Acc copy[R * V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) copy[r * V + v] = acc[r][v];
  }
  finish_any(f, copy, R, row, channel, count);
}
