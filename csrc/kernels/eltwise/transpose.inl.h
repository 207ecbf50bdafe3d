// Planes to pixels and back: kLanes pixels x 4 channels at a time. Included after eltwise.inl.h.

// Four planes from `c` on, at kLanes pixels; those past the last channel are zero.
GLZ_INLINE void load_planes(const float* x, int64_t channels, int64_t c, int64_t plane, int64_t n,
                            Vector::F (&planes)[4]) {
  for (int k = 0; k < 4; ++k) {
    planes[k] = c + k < channels ? Vector::load_floats(x + (c + k) * plane, n) : Vector::zero();
  }
}

// `step(c, first pixel, pixels)` for each block; blocks of one pixel range in a row, so that pixels
// are written to memory in order.
template <typename Step>
GLZ_INLINE void each_tile(int64_t stride, int64_t pixels, Step step) {
  for (int64_t p = 0; p < pixels; p += kLanes) {
    for (int64_t c = 0; c < stride; c += 4) step(c, p, least(pixels - p, kLanes));
  }
}

void planes_to_pixels_f32(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                          int64_t stride) {
  if (plane == 1) {
    memcpy(out, x, static_cast<size_t>(c) * sizeof(float));
    memset(out + c, 0, static_cast<size_t>(stride - c) * sizeof(float));
    return;
  }
  each_tile(stride, pixels, [=](int64_t first, int64_t p, int64_t n) {
    Vector::F v[4];
    load_planes(x + p, c, first, plane, n, v);
    float* to = out + p * stride + first;
    if (n == kLanes) return Vector::store_columns(v[0], v[1], v[2], v[3], to, stride);
    float buffer[4 * kLanes];
    Vector::store_columns(v[0], v[1], v[2], v[3], buffer, 4);
    for (int64_t k = 0; k < n; ++k) memcpy(to + k * stride, buffer + 4 * k, 4 * sizeof(float));
  });
}

void planes_to_pixels_u8(const float* x, float inverse_scale, uint8_t* out, ElementType type,
                         int64_t pixels, int64_t c, int64_t plane, int64_t stride) {
  const int zero = zero_byte(type);
  const CodesOut range(type);
  if (plane == 1) {
    quantize(x, inverse_scale, out, type, c);
    memset(out + c, zero, static_cast<size_t>(stride - c));
    return;
  }
  each_tile(stride, pixels, [=](int64_t first, int64_t p, int64_t n) {
    Vector::F v[4];
    Vector::I code[4];
    load_planes(x + p, c, first, plane, n, v);
    for (int k = 0; k < 4; ++k) {
      const auto y = Vector::mul(v[k], Vector::set(inverse_scale));
      const auto low = Vector::max(y, range.lo);  // NaN: the lowest code
      code[k] = Vector::to_int(Vector::min(low, range.hi));
      code[k] = Vector::add(code[k], Vector::set_ints(zero));
    }
    const auto bytes = Vector::gather_bytes(code[0], code[1], code[2], code[3]);
    uint8_t* to = out + p * stride + first;
    if (stride == 4) return Vector::store_bytes(to, bytes, 4 * n);
    uint8_t buffer[4 * kLanes];
    Vector::store_bytes(buffer, bytes);
    for (int64_t k = 0; k < n; ++k) memcpy(to + k * stride, buffer + 4 * k, 4);
  });
}

void pixels_to_planes_f32(const float* x, float* out, int64_t pixels, int64_t c, int64_t plane,
                          int64_t stride) {
  if (plane == 1) {
    memcpy(out, x, static_cast<size_t>(c) * sizeof(float));
    return;
  }
  each_tile(stride, pixels, [=](int64_t first, int64_t p, int64_t n) {
    Vector::F v[4];
    const float* from = x + p * stride + first;
    if (n == kLanes) {
      Vector::load_columns(from, stride, v);
    } else {
      float buffer[4 * kLanes] = {};
      for (int64_t k = 0; k < n; ++k) memcpy(buffer + 4 * k, from + k * stride, 4 * sizeof(float));
      Vector::load_columns(buffer, 4, v);
    }
    for (int k = 0; k < 4 && first + k < c; ++k) {
      Vector::store_floats(out + (first + k) * plane + p, v[k], n);
    }
  });
}
