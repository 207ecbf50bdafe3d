// With VNNI: dpbusd() of the ISA file multiplies and adds four bytes exactly.
// Included in a namespace of an ISA file, after Vector.

struct Dot {
  using Taps = Vector::B;
  static constexpr int64_t kVecs = 1;

  static void pack(const int8_t* taps, char* packed) { memcpy(packed, taps, Vector::kBytes); }
  static Taps taps(Vector::B x) { return x; }
  static Vector::I mul_add(Vector::I acc, Taps x, const char* w) {
    return dpbusd(acc, x, Vector::load_bytes(w));
  }
};
