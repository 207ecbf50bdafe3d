// Two int8 a word, as 16-bit integers: their products are added in pairs, exactly.

#include "integer.inl.h"

struct PairKernel : IntegerKernel {
  static constexpr int64_t kPerWord = 2;
  static constexpr uint32_t kPadWord = 0;

  static uint32_t word(const int8_t (&x)[2]) {
    return (static_cast<uint32_t>(x[0]) & 0xffff) | static_cast<uint32_t>(x[1]) << 16;
  }
  static Acc start(int32_t) { return zero(); }
  static Acc mul_add(Acc acc, Acc x, Acc w) { return add(acc, Vector::madd_words(x, w)); }
  static Small small_mul_add(Small acc, __m128i x, const uint32_t* words) {
    return _mm_add_epi32(acc, _mm_madd_epi16(x, load_words(words)));
  }
  static uint32_t small_total(Small x, int32_t) { return lane_sum(x); }
};
