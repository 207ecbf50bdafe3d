// From sums to what is asked for, as contract.h says. Plain loops, which compilers vectorise.

template <bool kInteger>
GLZ_INLINE float sum_as_float(uint32_t bits) {
  if constexpr (kInteger) return static_cast<float>(static_cast<int32_t>(bits));
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

GLZ_INLINE float scaled(const SpmmArgs& a, float sum, int64_t row) {
  if (a.multiplier != nullptr) sum *= a.multiplier[row];
  if (a.bias != nullptr) sum += a.bias[row];
  sum = sum < a.lo ? a.lo : sum;
  return sum > a.hi ? a.hi : sum;
}

GLZ_INLINE void put(float* to, float y) { *to = y; }
GLZ_INLINE void put(uint32_t* to, uint32_t bits) { *to = bits; }
GLZ_INLINE void put(int8_t* to, float y) {
  constexpr float kRint = 12582912.0f;  // 1.5 * 2^23: adding it rounds to even
  y = y >= -127.0f ? y : -127.0f;       // NaN too
  y = y > 127.0f ? 127.0f : y;
  *to = static_cast<int8_t>(static_cast<int32_t>((y + kRint) - kRint));
}

// value(r, c) of [rows][count] to y, along whichever axis is contiguous.
template <typename Out, typename Fn>
GLZ_INLINE void store_all(const SpmmArgs& a, int64_t row, int64_t rows, int64_t column,
                          int64_t count, const Fn& value) {
  Out* y = static_cast<Out*>(a.y) + row * a.y_row + column * a.y_column;
  if (a.y_column == 1) {
    for (int64_t r = 0; r < rows; ++r) {
      Out* out = y + r * a.y_row;
      for (int64_t c = 0; c < count; ++c) put(out + c, value(r, c));
    }
  } else {
    for (int64_t c = 0; c < count; ++c) {
      Out* out = y + c * a.y_column;
      for (int64_t r = 0; r < rows; ++r) put(out + r * a.y_row, value(r, c));
    }
  }
}

// sums: [rows][width], the first `count` of each row valid.
template <bool kInteger>
void finish(const SpmmArgs& a, const uint32_t* sums, int64_t width, int64_t row, int64_t rows,
            int64_t column, int64_t count) {
  const auto bits = [=](int64_t r, int64_t c) GLZ_UNROLLED { return sums[r * width + c]; };
  const auto real = [&](int64_t r, int64_t c) GLZ_UNROLLED {
    return scaled(a, sum_as_float<kInteger>(bits(r, c)), row + r);
  };
  switch (a.output) {
    case SpmmOutput::kSum:
      return store_all<uint32_t>(a, row, rows, column, count, bits);
    case SpmmOutput::kFloat:
      return store_all<float>(a, row, rows, column, count, real);
    case SpmmOutput::kCode:
      return store_all<int8_t>(a, row, rows, column, count, real);
  }
}
