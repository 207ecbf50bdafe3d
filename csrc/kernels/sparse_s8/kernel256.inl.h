// The parts of Kernel (sparse_conv/run.inl.h) that AVX2 and AVX-VNNI share.

struct Integer256 : SmallIntegers {
  using Args = SparseS8Args;
  using Weight = int8_t;
  using Acc = __m256i;
  static constexpr bool kInteger = true;

  static Acc zero() { return _mm256_setzero_si256(); }
  static Acc start(int32_t x) { return _mm256_set1_epi32(x); }
  static Acc from_bits(__m256i x) { return x; }
  static Acc load(const char* p) { return _mm256_load_si256((const __m256i*)p); }
  static Acc add(Acc a, Acc b) { return _mm256_add_epi32(a, b); }
};
