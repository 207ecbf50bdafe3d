// 16 lanes of AVX-512. Included inside the anonymous namespace of an ISA file, after <immintrin.h>.
// Every `n` below is the number of valid lanes; lanes past it are neither read nor written.

// GCC 12 warns of its own _mm512_undefined_ps() (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

struct Simd {
  using F = __m512;
  using I = __m512i;
  static constexpr int kLanes = 16;

  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  // NaN passes: the second operand is returned.
  static F at_least(F lo, F x) { return _mm512_max_ps(lo, x); }
  static F at_most(F hi, F x) { return _mm512_min_ps(hi, x); }
  static F leaky(F x, F slope) {
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(x, negative, x, slope);
  }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static F to_float(F x) { return x; }

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, F x, int64_t n) { _mm512_mask_storeu_ps(p, first(n), x); }
  static void store(int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  static void store(int32_t* p, I x, int64_t n) { _mm512_mask_storeu_epi32(p, first(n), x); }

  // See simd256.inl.h.
  struct Codes {
    I lo, shift;
  };
  static Codes codes(float lo, int zero) {
    const int shift = 128 - zero, lowest = _mm_cvtss_si32(_mm_set_ss(lo)) - shift;
    return {_mm512_set1_epi8(static_cast<char>(lowest)),
            _mm512_set1_epi16(static_cast<int16_t>(shift))};
  }
  // Rounds y, which is at most the highest code or NaN, and raises it to the lower bound: V vectors
  // of stored codes, packed.
  template <int V>
  static I pack_codes(const F (&y)[V], const Codes& codes) {
    I q[4];
    for (int v = 0; v < 4; ++v) q[v] = _mm512_cvtps_epi32(y[v < V ? v : V - 1]);
    const I pairs_01 = _mm512_subs_epi16(_mm512_packs_epi32(q[0], q[1]), codes.shift);
    const I pairs_23 = _mm512_subs_epi16(_mm512_packs_epi32(q[2], q[3]), codes.shift);
    const I mixed = _mm512_packs_epi16(pairs_01, pairs_23);
    const I order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const I raised = _mm512_max_epi8(_mm512_permutexvar_epi32(order, mixed), codes.lo);
    return _mm512_xor_si512(raised, _mm512_set1_epi8(-128));
  }
  template <int V>
  static void store_codes(uint8_t* p, const F (&y)[V], const Codes& codes) {
    const I bytes = pack_codes(y, codes);
    if constexpr (V == 4) {
      _mm512_storeu_si512(p, bytes);
    } else if constexpr (V == 1) {
      _mm_storeu_si128((__m128i*)p, _mm512_castsi512_si128(bytes));
    } else {
      _mm256_storeu_si256((__m256i*)p, _mm512_castsi512_si256(bytes));
      if (V == 3) _mm_storeu_si128((__m128i*)(p + 32), _mm512_extracti32x4_epi32(bytes, 2));
    }
  }
  template <int V>
  static void store_first_codes(uint8_t* p, const F (&y)[V], const Codes& codes,
                                int64_t n) {  // n < 64
    _mm512_mask_storeu_epi8(p, (1ull << n) - 1, pack_codes(y, codes));
  }
  static void store_codes(uint8_t* p, F y, const Codes& codes, int64_t n) {
    const F one[1] = {y};
    _mm_mask_storeu_epi8(p, first(n), _mm512_castsi512_si128(pack_codes(one, codes)));
  }
  // A residual's value * factor.
  static F scaled(const float* p, F factor, F) { return mul(load(p), factor); }
  static F scaled(const float* p, F factor, F, int64_t n) { return mul(load(p, n), factor); }
  // float(code) * factor, in one rounding as the factor times the zero byte is exact.
  static F scaled(const uint8_t* p, F factor, F offset) {
    const I wide = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), factor, offset);
  }
  static F scaled(const uint8_t* p, F factor, F offset, int64_t n) {
    const I wide = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), factor, offset);
  }
};
