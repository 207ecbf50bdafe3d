// Element-wise kernels. Included inside the anonymous namespace of an ISA file, after Vector.
// `lookup` is the ISA file's own.

#include "../vector/codes.inl.h"

constexpr int64_t kLanes = Vector::kLanes;
constexpr int kVecs = Vector::kCodeVecs;
constexpr int64_t kStep = kVecs * kLanes;  // elements that one store_codes packs

using Block = Vector::F[kVecs];

GLZ_INLINE void load_block(const float* p, int64_t n, Block& x) {
  for (int v = 0; v < kVecs; ++v)
    x[v] = Vector::load_floats(p + v * kLanes, most(n - v * kLanes, 0));
}

// codes * scale
GLZ_INLINE void load_block(const uint8_t* p, ElementType type, float scale, int64_t n, Block& x) {
  const int zero = zero_byte(type);
  for (int v = 0; v < kVecs; ++v) {
    const int64_t valid = n - v * kLanes;
    x[v] = valid >= kLanes ? Vector::load_codes(p + v * kLanes, zero)
                           : Vector::load_codes(p + v * kLanes, zero, most(valid, 0));
    x[v] = Vector::mul(x[v], Vector::set(scale));
  }
}

GLZ_INLINE void store_block(float* p, const Block& y, int64_t n) {
  for (int v = 0; v < kVecs; ++v)
    Vector::store_floats(p + v * kLanes, y[v], most(n - v * kLanes, 0));
}

// What turns values into codes of a type.
struct CodesOut {
  Vector::F lo, hi;
  Vector::Codes codes;

  explicit CodesOut(ElementType type)
      : lo(Vector::set(static_cast<float>(lowest_code(type)))),
        hi(Vector::set(static_cast<float>(highest_code(type)))),
        codes(Vector::codes(zero_byte(type))) {}
};

GLZ_INLINE void store_block(uint8_t* p, const CodesOut& to, Block& y, int64_t n) {
  for (auto& x : y) x = Vector::clamp(x, to.lo, to.hi);
  Vector::store_codes(p, y, to.codes, least(n, kStep));
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

void quantize(const float* x, float inverse_scale, uint8_t* codes, ElementType type,
              int64_t count) {
  const CodesOut to(type);
  for (int64_t i = 0; i < count; i += kStep) {
    Block y;
    load_block(x + i, count - i, y);
    for (auto& v : y) v = Vector::mul(v, Vector::set(inverse_scale));
    store_block(codes + i, to, y, count - i);
  }
}

void dequantize(const uint8_t* codes, ElementType type, float scale, float* x, int64_t count) {
  for (int64_t i = 0; i < count; i += kStep) {
    Block y;
    load_block(codes + i, type, scale, count - i, y);
    store_block(x + i, y, count - i);
  }
}

void add_u8(const CodesPair& p, float ma, float mb, bool leaky, float slope, float lo, float hi) {
  const Activation f = {leaky, slope, within_codes(lo, p.out_type), within_codes(hi, p.out_type)};
  const CodesOut to(p.out_type);
  for (int64_t i = 0; i < p.count; i += kStep) {
    Block x, y;
    load_block(p.a + i, p.a_type, ma, p.count - i, x);
    load_block(p.b + i, p.b_type, mb, p.count - i, y);
    for (int v = 0; v < kVecs; ++v) y[v] = Vector::add(x[v], y[v]);
    activate(f, y);
    Vector::store_codes(p.out + i, y, to.codes, least(p.count - i, kStep));
  }
}

void mul_u8(const CodesPair& p, float m) {
  const CodesOut to(p.out_type);
  for (int64_t i = 0; i < p.count; i += kStep) {
    Block x, y;
    load_block(p.a + i, p.a_type, 1.0f, p.count - i, x);
    load_block(p.b + i, p.b_type, 1.0f, p.count - i, y);
    for (int v = 0; v < kVecs; ++v) y[v] = Vector::mul(Vector::mul(x[v], y[v]), Vector::set(m));
    store_block(p.out + i, to, y, p.count - i);
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
  if (holds_codes(type)) {
    load_block(static_cast<const uint8_t*>(p) + at, type, 1.0f, n, x);
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
  const CodesOut codes(out_type);
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
    if (holds_codes(out_type)) {
      store_block(static_cast<uint8_t*>(out) + i, codes, left, n);
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
  const CodesOut codes(out_type);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < channels; c += kStep) {
      const int64_t from = row * x_stride + c, to = row * out_stride + c, n = channels - c;
      Block y, factor, offset;
      if (holds_codes(x_type)) {
        load_block(static_cast<const uint8_t*>(x) + from, x_type, input_scale, n, y);
      } else {
        load_block(static_cast<const float*>(x) + from, n, y);
      }
      load_block(scale + c, n, factor);
      load_block(shift + c, n, offset);
      for (int v = 0; v < kVecs; ++v) y[v] = Vector::add(Vector::mul(y[v], factor[v]), offset[v]);
      activate(f, y);
      if (holds_codes(out_type)) {
        for (auto& value : y) value = Vector::mul(value, Vector::set(inverse_scale));
        store_block(static_cast<uint8_t*>(out) + to, codes, y, n);
      } else {
        store_block(static_cast<float*>(out) + to, y, n);
      }
    }
  }
}
