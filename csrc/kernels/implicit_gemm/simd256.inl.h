// 8 lanes of AVX2. Included inside the anonymous namespace of an ISA file, after <immintrin.h>.
// Every `n` below is the number of valid lanes; lanes past it are neither read nor written.

struct Simd {
  using F = __m256;
  using I = __m256i;
  static constexpr int kLanes = 8;

  static I first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  // NaN passes: the second operand is returned.
  static F at_least(F lo, F x) { return _mm256_max_ps(lo, x); }
  static F at_most(F hi, F x) { return _mm256_min_ps(hi, x); }
  static F leaky(F x, F slope) {
    const F negative = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ);
    return _mm256_blendv_ps(x, _mm256_mul_ps(x, slope), negative);
  }
  static F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static F to_float(F x) { return x; }

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store(float* p, F x, int64_t n) { _mm256_maskstore_ps(p, first(n), x); }
  static void store(int32_t* p, I x) { _mm256_storeu_si256((I*)p, x); }
  static void store(int32_t* p, I x, int64_t n) { _mm256_maskstore_epi32(p, first(n), x); }

  // What makes stored bytes of codes: those of int8 less 128 are packed as they are, those of uint8
  // after 128 was taken off; then come the lower bound and the 128.
  struct Codes {
    __m128i lo;
    I shift;
  };
  static Codes codes(float lo, int zero) {
    const int shift = 128 - zero, lowest = _mm_cvtss_si32(_mm_set_ss(lo)) - shift;
    return {_mm_set1_epi8(static_cast<char>(lowest)),
            _mm256_set1_epi16(static_cast<int16_t>(shift))};
  }
  // Rounds y, which is at most the highest code or NaN, raises it to the lower bound, and writes V
  // full vectors of codes.
  template <int V>
  static void store_codes(uint8_t* p, const F (&y)[V], const Codes& codes) {
    static_assert(V <= 2, "at most 16 codes");
    const __m128i bytes = stored(y[0], y[V - 1], codes);
    if (V == 2) {
      _mm_storeu_si128((__m128i*)p, bytes);
    } else {
      _mm_storel_epi64((__m128i*)p, bytes);
    }
  }
  template <int V>
  static void store_first_codes(uint8_t* p, const F (&y)[V], const Codes& codes, int64_t n) {
    alignas(16) uint8_t buffer[16];
    _mm_store_si128((__m128i*)buffer, stored(y[0], y[V - 1], codes));
    memcpy(p, buffer, static_cast<size_t>(n));
  }
  static void store_codes(uint8_t* p, F y, const Codes& codes, int64_t n) {
    alignas(16) uint8_t buffer[16];
    _mm_store_si128((__m128i*)buffer, stored(y, y, codes));
    memcpy(p, buffer, static_cast<size_t>(n));
  }
  // A residual's value * factor.
  static F scaled(const float* p, F factor, F) { return mul(load(p), factor); }
  static F scaled(const float* p, F factor, F, int64_t n) { return mul(load(p, n), factor); }
  // float(code) * factor, in one rounding as the factor times the zero byte is exact.
  static F scaled(const uint8_t* p, F factor, F offset) {
    const I wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide), factor, offset);
  }
  static F scaled(const uint8_t* p, F factor, F offset, int64_t n) {
    uint8_t bytes[8] = {};
    memcpy(bytes, p, static_cast<size_t>(n));
    return scaled(bytes, factor, offset);
  }

 private:
  static __m128i stored(F a, F b, const Codes& codes) {
    const I mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    const I pairs = _mm256_permute4x64_epi64(_mm256_subs_epi16(mixed, codes.shift), 0xd8);
    const __m128i signed_bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    return _mm_xor_si128(_mm_max_epi8(signed_bytes, codes.lo), _mm_set1_epi8(-128));
  }
};
