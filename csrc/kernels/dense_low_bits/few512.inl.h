// What 512-bit vectors have in common.
struct Few512 {
  using Vec = __m512i;
  static constexpr int kParts = 1, kRows = 8;
  static Vec zero() { return _mm512_setzero_si512(); }
  static Vec load(const uint8_t* p) { return _mm512_load_si512(p); }
  static Vec unpack(Vec v, int bit, int mask) {
    return _mm512_and_si512(_mm512_srli_epi16(v, static_cast<unsigned>(bit)),
                            _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static Vec broadcast(const uint8_t* p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm512_set1_epi32(word);
  }
  static Vec sum(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  static Vec broadcast_sum(int32_t x) { return _mm512_set1_epi32(x); }
  static Vec load_sums(const int32_t* p) { return _mm512_loadu_si512(p); }
};
