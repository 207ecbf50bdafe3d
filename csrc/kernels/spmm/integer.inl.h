// What kernels with int32 sums share.

struct IntegerKernel {
  using Value = int8_t;
  static constexpr bool kInteger = true;
  using Acc = Vector::I;
  using Small = __m128i;

  static Acc zero() { return Vector::zero_ints(); }
  static Acc load(const uint32_t* p) { return Vector::load_ints(p); }
  static void store(uint32_t* p, Acc x) { Vector::store(reinterpret_cast<int32_t*>(p), x); }
  static Acc add(Acc a, Acc b) { return Vector::add(a, b); }
  static Acc broadcast(uint32_t x) { return Vector::set_ints(static_cast<int32_t>(x)); }

  static Small small_zero() { return _mm_setzero_si128(); }
  static Small small_add(Small a, Small b) { return _mm_add_epi32(a, b); }
  static Small load_words(const uint32_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static uint32_t lane_sum(Small x) {
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1))));
  }
};
