// Without VNNI: bytes become 16-bit words, even and odd taps apart, on which pmaddwd is exact.
// Included in a namespace of an ISA file, after Vector.

struct Dot {
  struct Taps {
    Vector::I even, odd;
  };
  static constexpr int64_t kVecs = 2;

  // The words of taps 0 and 2 of each lane, then those of taps 1 and 3.
  static void pack(const int8_t* taps, char* packed) {
    int16_t* words = reinterpret_cast<int16_t*>(packed);
    for (int i = 0; i < Vector::kBytes; ++i) {
      words[i % 2 * (Vector::kBytes / 2) + i / 2] = taps[i];
    }
  }
  static Taps taps(Vector::B x) { return {Vector::low_bytes(x), Vector::high_bytes(x)}; }
  static Vector::I mul_add(Vector::I acc, const Taps& x, const char* w) {
    const Vector::I even = Vector::madd_words(x.even, Vector::load_ints(w));
    const Vector::I odd = Vector::madd_words(x.odd, Vector::load_ints(w + Vector::kBytes));
    return Vector::add(acc, Vector::add(even, odd));
  }
};
