// Vectors of AVX2 for the kernels whose lanes are channels. Included inside the anonymous namespace
// of an ISA file, after <immintrin.h>. `n` is the number of valid lanes or bytes; none past it is
// touched.

#include "common.inl.h"

struct Vector {
  using F = __m256;
  using I = __m256i;
  using B = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kBytes = 32;
  static constexpr int kCodeVecs = 2;  // vectors that one store_codes packs

  // ---- float, and codes as float
  static I first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  // NaN passes: of two operands, the second is returned.
  static F clamp(F x, F lo, F hi) { return _mm256_min_ps(hi, _mm256_max_ps(lo, x)); }
  static F leaky(F x, F slope) {
    const F negative = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_LT_OQ);
    return _mm256_blendv_ps(x, _mm256_mul_ps(x, slope), negative);
  }
  static F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static F to_float(F x) { return x; }

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
  static F load_codes(const uint8_t* p, int zero) {
    return _mm256_cvtepi32_ps(sub(widen(p), set_ints(zero)));
  }
  static F load_codes(const uint8_t* p, int zero, int64_t n) {
    uint8_t bytes[8] = {};
    memcpy(bytes, p, static_cast<size_t>(n));
    return load_codes(bytes, zero);
  }

  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store(float* p, F x, int64_t n) { _mm256_maskstore_ps(p, first(n), x); }
  static void store(int32_t* p, I x) { _mm256_storeu_si256((I*)p, x); }
  static void store(int32_t* p, I x, int64_t n) { _mm256_maskstore_epi32(p, first(n), x); }

  // What makes stored bytes of codes: integers are packed to signed bytes after `shift` was taken
  // off, 0 for int8 and 128 for uint8, and raised to `lo`; then every byte gets 128.
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
    static_assert(V <= 2, "one 16-byte store");
    const I mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(y[0]), _mm256_cvtps_epi32(y[V - 1]));
    const I pairs = _mm256_permute4x64_epi64(_mm256_subs_epi16(mixed, codes.shift), 0xd8);
    const __m128i signed_bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    const __m128i raised = _mm_max_epi8(signed_bytes, _mm256_castsi256_si128(codes.lo));
    const __m128i bytes = _mm_xor_si128(raised, _mm_set1_epi8(-128));
    if (n == 16) {
      _mm_storeu_si128((__m128i*)p, bytes);
    } else {
      alignas(16) uint8_t buffer[16];
      _mm_store_si128((__m128i*)buffer, bytes);
      memcpy(p, buffer, static_cast<size_t>(n));
    }
  }
  static F zero() { return _mm256_setzero_ps(); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }  // b if either is NaN
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F load_floats(const float* p, int64_t n) { return n >= kLanes ? load(p) : load(p, n); }
  static void store_ints(int32_t* p, I x, int64_t n) { n >= kLanes ? store(p, x) : store(p, x, n); }
  static void store_floats(float* p, F x, int64_t n) { n >= kLanes ? store(p, x) : store(p, x, n); }

  // ---- int32
  static I zero_ints() { return _mm256_setzero_si256(); }
  static I set_ints(int32_t x) { return _mm256_set1_epi32(x); }
  static I load_ints(const void* p) { return _mm256_loadu_si256(static_cast<const I*>(p)); }
  static I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static I sub(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I widen(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static I widen_signed(const int8_t* p, int64_t n) {
    int8_t buffer[kLanes] = {};
    if (n < kLanes) p = static_cast<const int8_t*>(memcpy(buffer, p, static_cast<size_t>(n)));
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  // Rounds to even; both ends must be within int32.
  static I to_int(F x) { return _mm256_cvtps_epi32(x); }
  // a | b << 8 | c << 16 | d << 24
  static I gather_bytes(I a, I b, I c, I d) {
    return _mm256_or_si256(_mm256_or_si256(a, _mm256_slli_epi32(b, 8)),
                           _mm256_or_si256(_mm256_slli_epi32(c, 16), _mm256_slli_epi32(d, 24)));
  }

  // ---- 16-bit words
  static I words(int16_t x) { return _mm256_set1_epi16(x); }
  static I low_bytes(I x) { return _mm256_and_si256(x, words(0xff)); }
  static I high_bytes(I x) { return _mm256_srli_epi16(x, 8); }
  // The low words of a and, above them, those of b.
  static I pair_words(I a, I b) { return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa); }
  static I madd_words(I a, I b) { return _mm256_madd_epi16(a, b); }  // exact int32 sums of pairs

  // ---- bytes
  static B load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const B*>(p)); }
  static void store_bytes(void* p, B x) { _mm256_storeu_si256(static_cast<B*>(p), x); }
  static void store_bytes(void* p, B x, int64_t n) {
    if (n >= kBytes) return store_bytes(p, x);
    alignas(32) uint8_t buffer[kBytes];
    _mm256_store_si256(reinterpret_cast<B*>(buffer), x);
    memcpy(p, buffer, static_cast<size_t>(n));
  }
  static B set_bytes(uint8_t x) { return _mm256_set1_epi8(static_cast<char>(x)); }
  static B max_bytes(B a, B b) { return _mm256_max_epu8(a, b); }

  // Four rows of kBytes channels become four vectors of kLanes channels x 4 rows. Within each 16
  // channels the order stays; the 128-bit lanes are dealt out to the vectors.
  // Quarters 2 * kHalf and 2 * kHalf + 1 of four vectors interleaved byte by byte.
  template <int kHalf>
  static void interleave(B a, B b, B c, B d, B (&out)[2]) {
    const B ab = kHalf == 0 ? _mm256_unpacklo_epi8(a, b) : _mm256_unpackhi_epi8(a, b);
    const B cd = kHalf == 0 ? _mm256_unpacklo_epi8(c, d) : _mm256_unpackhi_epi8(c, d);
    out[0] = _mm256_unpacklo_epi16(ab, cd);
    out[1] = _mm256_unpackhi_epi16(ab, cd);
  }
  // Sums of interleaved vectors, back in the order of channels.
  static void in_order(const I (&x)[4], I (&out)[2][2]) {
    out[0][0] = _mm256_permute2x128_si256(x[0], x[1], 0x20);
    out[0][1] = _mm256_permute2x128_si256(x[2], x[3], 0x20);
    out[1][0] = _mm256_permute2x128_si256(x[0], x[1], 0x31);
    out[1][1] = _mm256_permute2x128_si256(x[2], x[3], 0x31);
  }

  // Rounded values of interleaved vectors, two at a time, as stored codes in the order of channels.
  static I pack_half(I a, I b, const Codes& codes) {
    return _mm256_subs_epi16(_mm256_packs_epi32(a, b), codes.shift);
  }
  static B pack_halves(I low, I high, const Codes& codes) {
    const B raised = _mm256_max_epi8(_mm256_packs_epi16(low, high), codes.lo);
    return _mm256_xor_si256(raised, set_bytes(0x80));
  }
  // Within each 128 bits: one of their four words in place of all.
  template <int word>
  static B spread_word(B x) {
    return _mm256_shuffle_epi32(x, word * 0x55);
  }
  // Of each two times 128 bits, the first (the second) in place of both.
  static B even_lanes(B x) { return _mm256_permute2x128_si256(x, x, 0x00); }
  static B odd_lanes(B x) { return _mm256_permute2x128_si256(x, x, 0x11); }

  // Four rows of kLanes floats become kLanes rows of four, `stride` floats apart.
  static void store_columns(F a, F b, F c, F d, float* p, int64_t stride) {
    const F ab_lo = _mm256_unpacklo_ps(a, b), ab_hi = _mm256_unpackhi_ps(a, b);
    const F cd_lo = _mm256_unpacklo_ps(c, d), cd_hi = _mm256_unpackhi_ps(c, d);
    const F rows[4] = {_mm256_shuffle_ps(ab_lo, cd_lo, 0x44), _mm256_shuffle_ps(ab_lo, cd_lo, 0xee),
                       _mm256_shuffle_ps(ab_hi, cd_hi, 0x44),
                       _mm256_shuffle_ps(ab_hi, cd_hi, 0xee)};
    for (int r = 0; r < 4; ++r) {
      _mm_storeu_ps(p + r * stride, _mm256_castps256_ps128(rows[r]));
      _mm_storeu_ps(p + (r + 4) * stride, _mm256_extractf128_ps(rows[r], 1));
    }
  }
  // The reverse: kLanes rows of four floats become four vectors.
  static void load_columns(const float* p, int64_t stride, F (&out)[4]) {
    F rows[4];
    for (int r = 0; r < 4; ++r) {
      rows[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + r * stride)),
                                     _mm_loadu_ps(p + (r + 4) * stride), 1);
    }
    const F ab_lo = _mm256_unpacklo_ps(rows[0], rows[1]),
            ab_hi = _mm256_unpackhi_ps(rows[0], rows[1]);
    const F cd_lo = _mm256_unpacklo_ps(rows[2], rows[3]),
            cd_hi = _mm256_unpackhi_ps(rows[2], rows[3]);
    out[0] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
    out[1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
    out[2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
    out[3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
  }
};
