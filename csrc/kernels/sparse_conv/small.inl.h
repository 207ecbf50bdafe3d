// The parts of Kernel (run.inl.h) for four words at a time, of one pixel; bits of sums are uint32.

struct SmallIntegers {
  using Small = __m128i;
  static Small small_zero() { return _mm_setzero_si128(); }
  static Small small_add(Small a, Small b) { return _mm_add_epi32(a, b); }
  static uint32_t small_total(Small x) {
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1))));
  }
  static uint32_t small_start(int32_t x) { return static_cast<uint32_t>(x); }
  static uint32_t small_sum(uint32_t a, uint32_t b) { return a + b; }
};

struct SmallFloats {
  using Small = __m128;
  static Small small_zero() { return _mm_setzero_ps(); }
  static Small small_add(Small a, Small b) { return _mm_add_ps(a, b); }
  static Small small_mul_add(Small acc, __m128i x, __m128i w) {
    return _mm_fmadd_ps(_mm_castsi128_ps(x), _mm_castsi128_ps(w), acc);
  }
  static uint32_t small_total(Small x) {
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return bits(_mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1))));
  }
  static uint32_t small_start(int32_t) { return 0; }
  static uint32_t small_sum(uint32_t a, uint32_t b) { return bits(value(a) + value(b)); }

 private:
  static uint32_t bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
  }
  static float value(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
};
