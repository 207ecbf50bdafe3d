// Vectors over 8 pixels, AVX2; the same functions as pixels512.inl.h. Included after
// vector256.inl.h.

struct Pixels {
  using I = __m256i;
  using F = __m256;
  using Lanes = __m256i;
  struct Wide {};  // gathers need none
  static constexpr int kLanes = 8;
  static constexpr int64_t kBytes = 32;
  static constexpr int kAccumulators = 8;
  static constexpr int kRegisters = 8;  // of sums, at most

  static I set(int32_t x) { return _mm256_set1_epi32(x); }
  static I load(const void* p) { return _mm256_load_si256((const I*)p); }
  static void store(void* p, I x) { _mm256_store_si256((I*)p, x); }
  static void store(void* p, F x) { _mm256_store_ps(static_cast<float*>(p), x); }
  static F as_float(I x) { return _mm256_castsi256_ps(x); }
  static I as_int(F x) { return _mm256_castps_si256(x); }

  static Lanes lanes(int64_t begin, int64_t end) {
    return _mm256_andnot_si256(Vector::first(begin), Vector::first(end));
  }
  static Wide wide(Lanes) { return {}; }
  template <int kStep>
  static I load_lanes(I x, Lanes lanes, Wide, const char* p, int64_t step) {
    const int* from = reinterpret_cast<const int*>(p);
    if (kStep == 1) return _mm256_blendv_epi8(x, _mm256_maskload_epi32(from, lanes), lanes);
    const I apart = set(kStep == 0 ? static_cast<int32_t>(step) : kStep);
    const I at = _mm256_mullo_epi32(ascending(), apart);
    return _mm256_mask_i32gather_epi32(x, from, at, lanes, 4);
  }

  template <typename At>
  GLZ_INLINE static void load_words(const At& at, I (&out)[4]) {
    I rows[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const auto four = [&](int p) { return _mm_loadu_si128((const __m128i*)at(p)); };
      rows[r] = _mm256_inserti128_si256(_mm256_castsi128_si256(four(r)), four(r + 4), 1);
    }
    transpose(rows, out);
  }
  GLZ_INLINE static void store_words(const I (&words)[4], char* to, int64_t stride) {
    I rows[4];
    transpose(words, rows);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const auto place = [&](int p) { return (__m128i*)(to + p * stride); };
      _mm_store_si128(place(r), _mm256_castsi256_si128(rows[r]));
      _mm_store_si128(place(r + 4), _mm256_extracti128_si256(rows[r], 1));
    }
  }
  static I load_column(const char* p, int64_t pitch, int64_t count) {
    const I at = _mm256_mullo_epi32(ascending(), set(static_cast<int32_t>(pitch)));
    return _mm256_mask_i32gather_epi32(set(0), reinterpret_cast<const int*>(p), at,
                                       Vector::first(count), 1);
  }

  static I byte(I word, int i) {
    const int first = static_cast<int>(0x80808000u) + i;
    return _mm256_shuffle_epi8(word, _mm256_setr_epi32(first, first + 4, first + 8, first + 12,
                                                       first, first + 4, first + 8, first + 12));
  }
  static I bytes(float bound, int shift) {
    return _mm256_set1_epi8(static_cast<char>(_mm_cvtss_si32(_mm_set_ss(bound)) - shift));
  }
  static I codes(F a, F b, F c, F d, I lo, I hi, I shift) {
    const I ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    const I cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
    const I order = _mm256_setr_epi32(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703, 0x0c080400,
                                      0x0d090501, 0x0e0a0602, 0x0f0b0703);
    const I words = _mm256_shuffle_epi8(
        _mm256_packs_epi16(_mm256_subs_epi16(ab, shift), _mm256_subs_epi16(cd, shift)), order);
    return _mm256_xor_si256(_mm256_min_epi8(_mm256_max_epi8(words, lo), hi),
                            _mm256_set1_epi8(-128));
  }

 private:
  static I ascending() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  GLZ_INLINE static void transpose(const I (&in)[4], I (&out)[4]) {
    const I ab_lo = _mm256_unpacklo_epi32(in[0], in[1]);
    const I ab_hi = _mm256_unpackhi_epi32(in[0], in[1]);
    const I cd_lo = _mm256_unpacklo_epi32(in[2], in[3]);
    const I cd_hi = _mm256_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm256_unpacklo_epi64(ab_lo, cd_lo);
    out[1] = _mm256_unpackhi_epi64(ab_lo, cd_lo);
    out[2] = _mm256_unpacklo_epi64(ab_hi, cd_hi);
    out[3] = _mm256_unpackhi_epi64(ab_hi, cd_hi);
  }
};
