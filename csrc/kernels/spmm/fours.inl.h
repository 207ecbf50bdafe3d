// Four int8 a word. vpdpbusd wants one unsigned operand: X is staged biased by 128, and sums begin
// at what that adds too much. Included after Dot.

#include "integer.inl.h"

struct FourKernel : IntegerKernel {
  static constexpr int64_t kPerWord = 4;
  static constexpr uint32_t kPadWord = 0x80808080u;

  static uint32_t word(const int8_t (&x)[4]) {
    const auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(x[i])); };
    return (byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24) ^ kPadWord;
  }
  static uint32_t excess(int32_t sum) { return 0u - 128u * static_cast<uint32_t>(sum); }
  static Acc start(int32_t sum) { return broadcast(excess(sum)); }
  static Acc mul_add(Acc acc, Acc x, Acc w) { return Dot::add(acc, x, w); }
  static Small small_mul_add(Small acc, __m128i x, const uint32_t* words) {
    return Dot::add(acc, x, load_words(words));
  }
  static uint32_t small_total(Small x, int32_t sum) { return lane_sum(x) + excess(sum); }
};
