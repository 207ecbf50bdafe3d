// Pooling with vectors over channels. Included inside the anonymous namespace of an ISA file, after
// Vector. Sums are taken in the order of the reference: float32 results are the same to the bit.

// The cells of one window that are inside the image.
struct Window {
  int64_t rows, columns;
  int64_t pixel;    // the first one's index among all input pixels
  int64_t divisor;  // of an average
};

GLZ_INLINE Window find_window(const PoolArgs& a, int64_t image, int64_t oh, int64_t ow) {
  const ConvGeometry& g = a.geometry;
  const int64_t top = oh * g.sh - g.pad_top, left = ow * g.sw - g.pad_left;
  const int64_t padded_bottom = least(top + g.kh, g.h + a.pad_bottom);
  const int64_t padded_right = least(left + g.kw, g.w + a.pad_right);
  const int64_t first_row = most(top, 0), first_column = most(left, 0);
  Window w;
  w.rows = most(least(padded_bottom, g.h) - first_row, 0);
  w.columns = most(least(padded_right, g.w) - first_column, 0);
  w.pixel = (image * g.h + first_row) * g.w + first_column;
  w.divisor = a.count_pad ? (padded_bottom - top) * (padded_right - left) : w.rows * w.columns;
  return w;
}

// What is pooled: an element type, its vectors, and how they combine.

struct MaxBytes {
  using In = uint8_t;
  using Acc = Vector::B;
  static constexpr int64_t kStep = Vector::kBytes;
  static constexpr int kVecs = 4;
  static Acc start(const ConvGeometry& g) { return Vector::set_bytes(lowest_byte(g.zero)); }
  static Acc combine(Acc acc, const In* p) { return Vector::max_bytes(acc, Vector::load_bytes(p)); }
  template <int V>
  static void store(const PoolArgs& a, const Window&, const Acc (&acc)[V], int64_t i, int64_t n) {
    uint8_t* out = static_cast<uint8_t*>(a.output) + i;
    for (int v = 0; v < V; ++v) Vector::store_bytes(out + v * kStep, acc[v], n - v * kStep);
  }
};

struct MaxFloats {
  using In = float;
  using Acc = Vector::F;
  static constexpr int64_t kStep = Vector::kLanes;
  static constexpr int kVecs = 4;
  static Acc start(const ConvGeometry&) { return Vector::set(-__builtin_inff()); }
  static Acc combine(Acc acc, const In* p) { return Vector::max(acc, Vector::load(p)); }
  template <int V>
  static void store(const PoolArgs& a, const Window&, const Acc (&acc)[V], int64_t i, int64_t n) {
    float* out = static_cast<float*>(a.output) + i;
    for (int v = 0; v < V; ++v) Vector::store_floats(out + v * kStep, acc[v], n - v * kStep);
  }
};

struct SumBytes {
  using In = uint8_t;
  using Acc = Vector::I;
  static constexpr int64_t kStep = Vector::kLanes;
  static constexpr int kVecs = Vector::kCodeVecs;
  static Acc start(const ConvGeometry&) { return Vector::zero_ints(); }
  static Acc combine(Acc acc, const In* p) { return Vector::add(acc, Vector::widen(p)); }
  template <int V>
  static void store(const PoolArgs& a, const Window& w, const Acc (&acc)[V], int64_t i, int64_t n) {
    const auto bias = Vector::set_ints(static_cast<int32_t>(a.geometry.zero * w.rows * w.columns));
    const float factor = w.divisor > 0 ? a.factor / static_cast<float>(w.divisor) : 0.0f;
    Vector::F y[V];
    for (int v = 0; v < V; ++v) {
      y[v] = Vector::mul(Vector::to_float(Vector::sub(acc[v], bias)), Vector::set(factor));
    }
    if (!holds_codes(a.output_type)) {
      float* out = static_cast<float*>(a.output) + i;
      for (int v = 0; v < V; ++v) Vector::store_floats(out + v * kStep, y[v], n - v * kStep);
      return;
    }
    const auto lo = Vector::set(static_cast<float>(lowest_code(a.output_type)));
    const auto hi = Vector::set(static_cast<float>(highest_code(a.output_type)));
    for (auto& x : y) x = Vector::clamp(x, lo, hi);
    const auto codes = Vector::codes(zero_byte(a.output_type));
    Vector::store_codes(static_cast<uint8_t*>(a.output) + i, y, codes, n);
  }
};

struct SumFloats {
  using In = float;
  using Acc = Vector::F;
  static constexpr int64_t kStep = Vector::kLanes;
  static constexpr int kVecs = 4;
  static Acc start(const ConvGeometry&) { return Vector::zero(); }
  static Acc combine(Acc acc, const In* p) { return Vector::add(acc, Vector::load(p)); }
  template <int V>
  static void store(const PoolArgs& a, const Window& w, const Acc (&acc)[V], int64_t i, int64_t n) {
    const auto divisor = Vector::set(static_cast<float>(most(w.divisor, 1)));
    float* out = static_cast<float*>(a.output) + i;
    for (int v = 0; v < V; ++v) {
      Vector::store_floats(out + v * kStep, Vector::div(acc[v], divisor), n - v * kStep);
    }
  }
};

// `n` channels, which reach into each of V vectors; output element `i` is the first.
template <typename Op, int V>
GLZ_INLINE void pool_block(const PoolArgs& a, const Window& w, const typename Op::In* x, int64_t i,
                           int64_t n) {
  const ConvGeometry& g = a.geometry;
  typename Op::Acc acc[V];
  for (auto& lanes : acc) lanes = Op::start(g);
  for (int64_t y = 0; y < w.rows; ++y) {
    const typename Op::In* cell = x + y * g.w * g.stride_c;
    for (int64_t k = 0; k < w.columns; ++k, cell += g.stride_c) {
      for (int v = 0; v < V; ++v) acc[v] = Op::combine(acc[v], cell + v * Op::kStep);
    }
  }
  Op::store(a, w, acc, i, n);
}

template <typename Op>
void pool_pixel(const PoolArgs& a, const Window& w, int64_t out_pixel) {
  constexpr int64_t kWide = Op::kVecs * Op::kStep;
  const ConvGeometry& g = a.geometry;
  const auto* x = static_cast<const typename Op::In*>(a.input) + w.pixel * g.stride_c;
  const int64_t i = out_pixel * a.output_stride;
  int64_t c = 0;
  for (; g.channels - c > kWide - Op::kStep; c += kWide) {
    pool_block<Op, Op::kVecs>(a, w, x + c, i + c, least(g.channels - c, kWide));
  }
  for (; c < g.channels; c += Op::kStep) {
    pool_block<Op, 1>(a, w, x + c, i + c, least(g.channels - c, Op::kStep));
  }
}

template <typename Op>
void pool_rows(const PoolArgs& a, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t ow = 0; ow < g.ow; ++ow) {
      pool_pixel<Op>(a, find_window(a, row / g.oh, row % g.oh, ow), row * g.ow + ow);
    }
  }
}
