// Element-wise kernels. Included inside the anonymous namespace of an ISA file, after Vector.
// `lookup` is the ISA file's own.

constexpr int64_t kLanes = Vector::kLanes;
constexpr int kVecs = Vector::kCodeVecs;
constexpr int64_t kStep = kVecs * kLanes;  // elements that one store_codes packs

using Block = Vector::F[kVecs];

GLZ_INLINE void load_block(const float* p, int64_t n, Block& x) {
  for (int v = 0; v < kVecs; ++v)
    x[v] = Vector::load_floats(p + v * kLanes, most(n - v * kLanes, 0));
}

// codes * scale
GLZ_INLINE void load_block(const uint8_t* p, float scale, int64_t n, Block& x) {
  for (int v = 0; v < kVecs; ++v) {
    const int64_t valid = n - v * kLanes;
    x[v] = valid >= kLanes ? Vector::load_codes(p + v * kLanes)
                           : Vector::load_codes(p + v * kLanes, most(valid, 0));
    x[v] = Vector::mul(x[v], Vector::set(scale));
  }
}

GLZ_INLINE void store_block(float* p, const Block& y, int64_t n) {
  for (int v = 0; v < kVecs; ++v)
    Vector::store_floats(p + v * kLanes, y[v], most(n - v * kLanes, 0));
}

GLZ_INLINE void store_block(uint8_t* p, Block& y, int64_t n) {
  for (auto& x : y) x = Vector::clamp(x, Vector::set(-kMaxCode), Vector::set(kMaxCode));
  Vector::store_codes(p, y, least(n, kStep));
}

struct Activation {
  bool leaky;
  float slope, lo, hi;
};

GLZ_INLINE void activate(const Activation& f, Block& y) {
  if (f.leaky) {
    for (auto& x : y) x = Vector::leaky(x, Vector::set(f.slope));
  }
  for (auto& x : y) x = Vector::clamp(x, Vector::set(f.lo), Vector::set(f.hi));
}

void quantize(const float* x, float inverse_scale, uint8_t* codes, int64_t count) {
  for (int64_t i = 0; i < count; i += kStep) {
    Block y;
    load_block(x + i, count - i, y);
    for (auto& v : y) v = Vector::mul(v, Vector::set(inverse_scale));
    store_block(codes + i, y, count - i);
  }
}

void dequantize(const uint8_t* codes, float scale, float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += kStep) {
    Block y;
    load_block(codes + i, scale, count - i, y);
    store_block(x + i, y, count - i);
  }
}

void add_u8(const uint8_t* a, float ma, const uint8_t* b, float mb, bool leaky, float slope,
            float lo, float hi, uint8_t* out, int64_t count) {
  const Activation f = {leaky, slope, within_codes(lo), within_codes(hi)};
  for (int64_t i = 0; i < count; i += kStep) {
    Block x, y;
    load_block(a + i, ma, count - i, x);
    load_block(b + i, mb, count - i, y);
    for (int v = 0; v < kVecs; ++v) y[v] = Vector::add(x[v], y[v]);
    activate(f, y);
    Vector::store_codes(out + i, y, least(count - i, kStep));
  }
}

void mul_u8(const uint8_t* a, const uint8_t* b, float m, uint8_t* out, int64_t count) {
  for (int64_t i = 0; i < count; i += kStep) {
    Block x, y;
    load_block(a + i, 1.0f, count - i, x);
    load_block(b + i, 1.0f, count - i, y);
    for (int v = 0; v < kVecs; ++v) y[v] = Vector::mul(Vector::mul(x[v], y[v]), Vector::set(m));
    store_block(out + i, y, count - i);
  }
}

void add_f32(const float* a, const float* b, bool leaky, float slope, float lo, float hi,
             float* out, int64_t count) {
  const Activation f = {leaky, slope, lo, hi};
  for (int64_t i = 0; i < count; i += kStep) {
    Block x, y;
    load_block(a + i, count - i, x);
    load_block(b + i, count - i, y);
    for (int v = 0; v < kVecs; ++v) y[v] = Vector::add(x[v], y[v]);
    activate(f, y);
    store_block(out + i, y, count - i);
  }
}

GLZ_INLINE void load_block(const void* p, ElementType type, int64_t at, int64_t n, Block& x) {
  if (type == ElementType::kU8) {
    load_block(static_cast<const uint8_t*>(p) + at, 1.0f, n, x);
  } else {
    load_block(static_cast<const float*>(p) + at, n, x);
  }
}

// x = x * (1 - weight) + y * weight
GLZ_INLINE void blend(Block& x, const Block& y, float weight) {
  const auto keep = Vector::set(1.0f - weight), take = Vector::set(weight);
  for (int v = 0; v < kVecs; ++v) {
    x[v] = Vector::add(Vector::mul(x[v], keep), Vector::mul(y[v], take));
  }
}

void mix(const void* const* corners, ElementType x_type, float row_weight, float column_weight,
         float factor, void* out, ElementType out_type, int64_t count) {
  for (int64_t i = 0; i < count; i += kStep) {
    const int64_t n = count - i;
    Block left, right, below;
    load_block(corners[0], x_type, i, n, left);
    load_block(corners[2], x_type, i, n, below);
    blend(left, below, row_weight);
    load_block(corners[1], x_type, i, n, right);
    load_block(corners[3], x_type, i, n, below);
    blend(right, below, row_weight);
    blend(left, right, column_weight);
    for (auto& y : left) y = Vector::mul(y, Vector::set(factor));
    if (out_type == ElementType::kU8) {
      store_block(static_cast<uint8_t*>(out) + i, left, n);
    } else {
      store_block(static_cast<float*>(out) + i, left, n);
    }
  }
}

void scale_shift(const void* x, ElementType x_type, float input_scale, const float* scale,
                 const float* shift, bool leaky, float slope, float lo, float hi, void* out,
                 ElementType out_type, float inverse_scale, int64_t rows, int64_t channels,
                 int64_t x_stride, int64_t out_stride) {
  const Activation f = {leaky, slope, lo, hi};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < channels; c += kStep) {
      const int64_t from = row * x_stride + c, to = row * out_stride + c, n = channels - c;
      Block y, factor, offset;
      if (x_type == ElementType::kU8) {
        load_block(static_cast<const uint8_t*>(x) + from, input_scale, n, y);
      } else {
        load_block(static_cast<const float*>(x) + from, n, y);
      }
      load_block(scale + c, n, factor);
      load_block(shift + c, n, offset);
      for (int v = 0; v < kVecs; ++v) y[v] = Vector::add(Vector::mul(y[v], factor[v]), offset[v]);
      activate(f, y);
      if (out_type == ElementType::kU8) {
        for (auto& value : y) value = Vector::mul(value, Vector::set(inverse_scale));
        store_block(static_cast<uint8_t*>(out) + to, y, n);
      } else {
        store_block(static_cast<float*>(out) + to, y, n);
      }
    }
  }
}
