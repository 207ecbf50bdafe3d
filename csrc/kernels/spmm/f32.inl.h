// One float a word.

struct FloatKernel {
  using Value = float;
  static constexpr int64_t kPerWord = 1;
  static constexpr bool kInteger = false;
  static constexpr uint32_t kPadWord = 0;
  using Acc = Vector::F;
  using Small = __m128;

  static uint32_t word(const float (&x)[1]) {
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
  }
  static const float* floats(const uint32_t* p) { return reinterpret_cast<const float*>(p); }
  static Acc zero() { return Vector::zero(); }
  static Acc start(int32_t) { return zero(); }
  static Acc load(const uint32_t* p) { return Vector::load(floats(p)); }
  static void store(uint32_t* p, Acc x) { Vector::store(reinterpret_cast<float*>(p), x); }
  static Acc add(Acc a, Acc b) { return Vector::add(a, b); }
  static Acc broadcast(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return Vector::set(value);
  }
  static Acc mul_add(Acc acc, Acc x, Acc w) { return Vector::fma(x, w, acc); }

  static Small small_zero() { return _mm_setzero_ps(); }
  static Small small_add(Small a, Small b) { return _mm_add_ps(a, b); }
  static Small small_mul_add(Small acc, __m128i x, const uint32_t* words) {
    return _mm_fmadd_ps(_mm_castsi128_ps(x), _mm_loadu_ps(floats(words)), acc);
  }
  static uint32_t small_total(Small x, int32_t) {
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    const float total[1] = {_mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)))};
    return word(total);
  }
};
