// Vectors over 16 pixels, AVX-512BW. Included after vector512.inl.h.

struct Pixels {
  using I = __m512i;
  using F = __m512;
  using Lanes = __mmask16;
  using Wide = uint32_t;
  static constexpr int kLanes = 16;
  static constexpr int64_t kBytes = 64;
  static constexpr int kAccumulators = 12;  // that hide a product's latency and leave room
  static constexpr int kRegisters = 16;     // of sums, at most

  static I set(int32_t x) { return _mm512_set1_epi32(x); }
  static I load(const void* p) { return _mm512_load_si512(p); }
  static void store(void* p, I x) { _mm512_store_si512(p, x); }
  static void store(void* p, F x) { _mm512_store_ps(p, x); }
  static F as_float(I x) { return _mm512_castsi512_ps(x); }
  static I as_int(F x) { return _mm512_castps_si512(x); }

  // Lanes [begin, end).
  static Lanes lanes(int64_t begin, int64_t end) {
    return static_cast<Lanes>((1u << end) - (1u << begin));
  }
  // Bit i to bit 2 i: the lanes of two vectors that have them in every other word.
  static Wide wide(Lanes lanes) {
    uint32_t x = lanes;
    x = (x | x << 8) & 0x00ff00ff;
    x = (x | x << 4) & 0x0f0f0f0f;
    x = (x | x << 2) & 0x33333333;
    return (x | x << 1) & 0x55555555;
  }
  // Words from `p` (lane 0) on, kStep apart, or `step` if that is 0; other lanes stay.
  template <int kStep>
  static I load_lanes(I x, Lanes lanes, Wide wide, const char* p, int64_t step) {
    if (kStep == 1) return _mm512_mask_loadu_epi32(x, lanes, p);
    if (kStep == 2) {
      const I low = _mm512_maskz_loadu_epi32(static_cast<Lanes>(wide), p);
      const I high = _mm512_maskz_loadu_epi32(static_cast<Lanes>(wide >> 16), p + 64);
      const I even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      return _mm512_mask_mov_epi32(x, lanes, _mm512_permutex2var_epi32(low, even, high));
    }
    const I at = _mm512_mullo_epi32(ascending(), set(static_cast<int32_t>(step)));
    return _mm512_mask_i32gather_epi32(x, lanes, at, p, 4);
  }

  // out[w] has word w of each pixel; at(p) is where pixel p has its four words.
  template <typename At>
  GLZ_INLINE static void load_words(const At& at, I (&out)[4]) {
    I rows[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const auto four = [&](int p) { return _mm_loadu_si128((const __m128i*)at(p)); };
      rows[r] = _mm512_castsi128_si512(four(r));
      rows[r] = _mm512_inserti32x4(rows[r], four(r + 4), 1);
      rows[r] = _mm512_inserti32x4(rows[r], four(r + 8), 2);
      rows[r] = _mm512_inserti32x4(rows[r], four(r + 12), 3);
    }
    transpose(rows, out);
  }
  // The reverse.
  GLZ_INLINE static void store_words(const I (&words)[4], char* to, int64_t stride) {
    I rows[4];
    transpose(words, rows);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const auto place = [&](int p) { return (__m128i*)(to + p * stride); };
      _mm_store_si128(place(r), _mm512_castsi512_si128(rows[r]));
      _mm_store_si128(place(r + 4), _mm512_extracti32x4_epi32(rows[r], 1));
      _mm_store_si128(place(r + 8), _mm512_extracti32x4_epi32(rows[r], 2));
      _mm_store_si128(place(r + 12), _mm512_extracti32x4_epi32(rows[r], 3));
    }
  }
  // Vector::kLanes words, `pitch` bytes apart, of which `count` are there.
  static I load_column(const char* p, int64_t pitch, int64_t count) {
    const I at = _mm512_mullo_epi32(ascending(), set(static_cast<int32_t>(pitch)));
    return _mm512_mask_i32gather_epi32(set(0), Vector::first(count), at, p, 1);
  }

  // Byte `i` of each word.
  static I byte(I word, int i) {
    return _mm512_shuffle_epi8(word, _mm512_set4_epi32(word_of_byte(12 + i), word_of_byte(8 + i),
                                                       word_of_byte(4 + i), word_of_byte(i)));
  }
  // Each byte the code nearest to `bound`, less `shift`: 0 for int8, 128 for uint8.
  static I bytes(float bound, int shift) {
    return _mm512_set1_epi8(static_cast<char>(_mm_cvtss_si32(_mm_set_ss(bound)) - shift));
  }
  // Words of four stored codes within [lo, hi], both from bytes(); NaN becomes the lowest. `shift`:
  // in every 16-bit word.
  static I codes(F a, F b, F c, F d, I lo, I hi, I shift) {
    const I ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    const I cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    const I order = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
    const I words = _mm512_shuffle_epi8(
        _mm512_packs_epi16(_mm512_subs_epi16(ab, shift), _mm512_subs_epi16(cd, shift)), order);
    return _mm512_xor_si512(_mm512_min_epi8(_mm512_max_epi8(words, lo), hi),
                            _mm512_set1_epi8(-128));
  }

 private:
  // A shuffle that brings that byte to a word's lowest, and zeros above.
  static constexpr int word_of_byte(int i) { return static_cast<int>(0x80808000u) + i; }
  static I ascending() {
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
  // 4 x 4 words within each 128-bit lane.
  GLZ_INLINE static void transpose(const I (&in)[4], I (&out)[4]) {
    const I ab_lo = _mm512_unpacklo_epi32(in[0], in[1]);
    const I ab_hi = _mm512_unpackhi_epi32(in[0], in[1]);
    const I cd_lo = _mm512_unpacklo_epi32(in[2], in[3]);
    const I cd_hi = _mm512_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm512_unpacklo_epi64(ab_lo, cd_lo);
    out[1] = _mm512_unpackhi_epi64(ab_lo, cd_lo);
    out[2] = _mm512_unpacklo_epi64(ab_hi, cd_hi);
    out[3] = _mm512_unpackhi_epi64(ab_hi, cd_hi);
  }
};
