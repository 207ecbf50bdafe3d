// Vectors of AVX-512BW; the same functions as vector256.inl.h.

// GCC 12 warns of its own _mm512_undefined_ps() (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "common.inl.h"

struct Vector {
  using F = __m512;
  using I = __m512i;
  using B = __m512i;
  static constexpr int kLanes = 16;
  static constexpr int kBytes = 64;
  static constexpr int kCodeVecs = 4;

  // ---- float, and codes as float
  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  // NaN passes: of two operands, the second is returned.
  static F clamp(F x, F lo, F hi) { return _mm512_min_ps(hi, _mm512_max_ps(lo, x)); }
  static F leaky(F x, F slope) {
    const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_mul_ps(x, negative, x, slope);
  }
  static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static F to_float(F x) { return x; }

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static F load_codes(const uint8_t* p, int zero) {
    return _mm512_cvtepi32_ps(sub(widen(p), set_ints(zero)));
  }
  static F load_codes(const uint8_t* p, int zero, int64_t n) {
    const I wide = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p));
    return _mm512_cvtepi32_ps(sub(wide, set_ints(zero)));
  }

  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, F x, int64_t n) { _mm512_mask_storeu_ps(p, first(n), x); }
  static void store(int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  static void store(int32_t* p, I x, int64_t n) { _mm512_mask_storeu_epi32(p, first(n), x); }

  // See vector256.inl.h.
  struct Codes {
    B lo;
    I shift;
  };
  static Codes codes(int zero) { return codes(zero, zero == 0 ? 0 : -127); }
  static Codes codes(int zero, int lowest) {
    const int shift = 128 - zero;
    return {set_bytes(static_cast<uint8_t>(lowest - shift)), words(static_cast<int16_t>(shift))};
  }
  // y is within the range of the codes, or NaN, which becomes the lowest; n bytes are written.
  template <int V>
  static void store_codes(uint8_t* p, const F (&y)[V], const Codes& codes, int64_t n) {
    I q[4];
    for (int v = 0; v < 4; ++v) q[v] = _mm512_cvtps_epi32(y[v < V ? v : 0]);
    const I pairs_01 = _mm512_subs_epi16(_mm512_packs_epi32(q[0], q[1]), codes.shift);
    const I pairs_23 = _mm512_subs_epi16(_mm512_packs_epi32(q[2], q[3]), codes.shift);
    const I mixed = _mm512_packs_epi16(pairs_01, pairs_23);
    const I order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const I raised = _mm512_max_epi8(_mm512_permutexvar_epi32(order, mixed), codes.lo);
    const I bytes = _mm512_xor_si512(raised, _mm512_set1_epi8(-128));
    if (n == 64) {
      _mm512_storeu_si512(p, bytes);
    } else if (n == 32) {
      _mm256_storeu_si256((__m256i*)p, _mm512_castsi512_si256(bytes));
    } else {
      _mm512_mask_storeu_epi8(p, (1ull << n) - 1, bytes);
    }
  }
  static F zero() { return _mm512_setzero_ps(); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F load_floats(const float* p, int64_t n) { return n >= kLanes ? load(p) : load(p, n); }
  static void store_ints(int32_t* p, I x, int64_t n) { n >= kLanes ? store(p, x) : store(p, x, n); }
  static void store_floats(float* p, F x, int64_t n) { n >= kLanes ? store(p, x) : store(p, x, n); }

  // ---- int32
  static I zero_ints() { return _mm512_setzero_si512(); }
  static I set_ints(int32_t x) { return _mm512_set1_epi32(x); }
  static I load_ints(const void* p) { return _mm512_loadu_si512(p); }
  static I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static I sub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I widen(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I widen_signed(const int8_t* p, int64_t n) {
    int8_t buffer[kLanes] = {};
    if (n < kLanes) p = static_cast<const int8_t*>(memcpy(buffer, p, static_cast<size_t>(n)));
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I to_int(F x) { return _mm512_cvtps_epi32(x); }
  static I gather_bytes(I a, I b, I c, I d) {
    const I low = _mm512_or_si512(a, _mm512_slli_epi32(b, 8));
    return _mm512_ternarylogic_epi32(low, _mm512_slli_epi32(c, 16), _mm512_slli_epi32(d, 24), 0xfe);
  }

  // ---- 16-bit words
  static I words(int16_t x) { return _mm512_set1_epi16(x); }
  static I low_bytes(I x) { return _mm512_and_si512(x, words(0xff)); }
  static I high_bytes(I x) { return _mm512_srli_epi16(x, 8); }
  // The low words of a and, above them, those of b.
  static I pair_words(I a, I b) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
  }
  static I madd_words(I a, I b) { return _mm512_madd_epi16(a, b); }  // exact int32 sums of pairs

  // ---- bytes
  static B load_bytes(const void* p) { return _mm512_loadu_si512(p); }
  static void store_bytes(void* p, B x) { _mm512_storeu_si512(p, x); }
  static void store_bytes(void* p, B x, int64_t n) {
    if (n >= kBytes) return store_bytes(p, x);
    _mm512_mask_storeu_epi8(p, (1ull << n) - 1, x);
  }
  static B set_bytes(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
  static B max_bytes(B a, B b) { return _mm512_max_epu8(a, b); }

  template <int kHalf>
  static void interleave(B a, B b, B c, B d, B (&out)[2]) {
    const B ab = kHalf == 0 ? _mm512_unpacklo_epi8(a, b) : _mm512_unpackhi_epi8(a, b);
    const B cd = kHalf == 0 ? _mm512_unpacklo_epi8(c, d) : _mm512_unpackhi_epi8(c, d);
    out[0] = _mm512_unpacklo_epi16(ab, cd);
    out[1] = _mm512_unpackhi_epi16(ab, cd);
  }
  static void in_order(const I (&x)[4], I (&out)[1][4]) {
    const I even_01 = _mm512_shuffle_i32x4(x[0], x[1], 0x88);
    const I even_23 = _mm512_shuffle_i32x4(x[2], x[3], 0x88);
    const I odd_01 = _mm512_shuffle_i32x4(x[0], x[1], 0xdd);
    const I odd_23 = _mm512_shuffle_i32x4(x[2], x[3], 0xdd);
    out[0][0] = _mm512_shuffle_i32x4(even_01, even_23, 0x88);
    out[0][1] = _mm512_shuffle_i32x4(odd_01, odd_23, 0x88);
    out[0][2] = _mm512_shuffle_i32x4(even_01, even_23, 0xdd);
    out[0][3] = _mm512_shuffle_i32x4(odd_01, odd_23, 0xdd);
  }

  static I pack_half(I a, I b, const Codes& codes) {
    return _mm512_subs_epi16(_mm512_packs_epi32(a, b), codes.shift);
  }
  static B pack_halves(I low, I high, const Codes& codes) {
    const B raised = _mm512_max_epi8(_mm512_packs_epi16(low, high), codes.lo);
    return _mm512_xor_si512(raised, set_bytes(0x80));
  }
  // Within each 128 bits: one of their four words in place of all.
  template <int word>
  static B spread_word(B x) {
    return _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(word * 0x55));
  }
  // Of each two times 128 bits, the first (the second) in place of both.
  static B even_lanes(B x) { return _mm512_shuffle_i64x2(x, x, 0xa0); }
  static B odd_lanes(B x) { return _mm512_shuffle_i64x2(x, x, 0xf5); }

  static void store_columns(F a, F b, F c, F d, float* p, int64_t stride) {
    F rows[4];
    transpose_lanes(a, b, c, d, rows);
    for (int r = 0; r < 4; ++r) {
      _mm_storeu_ps(p + r * stride, _mm512_castps512_ps128(rows[r]));
      _mm_storeu_ps(p + (r + 4) * stride, _mm512_extractf32x4_ps(rows[r], 1));
      _mm_storeu_ps(p + (r + 8) * stride, _mm512_extractf32x4_ps(rows[r], 2));
      _mm_storeu_ps(p + (r + 12) * stride, _mm512_extractf32x4_ps(rows[r], 3));
    }
  }
  static void load_columns(const float* p, int64_t stride, F (&out)[4]) {
    F rows[4];
    for (int r = 0; r < 4; ++r) {
      F row = _mm512_castps128_ps512(_mm_loadu_ps(p + r * stride));
      row = _mm512_insertf32x4(row, _mm_loadu_ps(p + (r + 4) * stride), 1);
      row = _mm512_insertf32x4(row, _mm_loadu_ps(p + (r + 8) * stride), 2);
      rows[r] = _mm512_insertf32x4(row, _mm_loadu_ps(p + (r + 12) * stride), 3);
    }
    transpose_lanes(rows[0], rows[1], rows[2], rows[3], out);
  }

 private:
  // 4 x 4 within each 128-bit lane.
  static void transpose_lanes(F a, F b, F c, F d, F (&out)[4]) {
    const F ab_lo = _mm512_unpacklo_ps(a, b), ab_hi = _mm512_unpackhi_ps(a, b);
    const F cd_lo = _mm512_unpacklo_ps(c, d), cd_hi = _mm512_unpackhi_ps(c, d);
    out[0] = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
    out[1] = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
    out[2] = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
    out[3] = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
  }
};
