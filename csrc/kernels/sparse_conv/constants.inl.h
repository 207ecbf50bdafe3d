// What the epilogue multiplies, adds and clamps with, in vectors. Included before job.inl.h.

// Those of the channels of a word.
struct Factors {
  static constexpr int kChannels = kPerWord<Kernel::Weight>;
  Pixels::F multiplier[kChannels], bias[kChannels];

  Factors(const Epilogue& e, int64_t channel) {
    for (int i = 0; i < kChannels; ++i) {
      multiplier[i] = Vector::set(Kernel::kInteger ? e.multiplier[channel + i] : 1.0f);
      bias[i] = Vector::set(e.bias[channel + i]);
    }
  }
};

// The epilogue's constants, in registers: stores through pointers cannot change a local copy.
struct Constants {
  Pixels::F lo, hi, slope, factor, offset;  // offset: -zero byte of the residual * factor
  Pixels::I lo_code, hi_code, lowest, highest, shift;
  bool leaky;

  explicit Constants(const Epilogue& e)
      : lo(Vector::set(e.lo)),
        hi(Vector::set(e.hi)),
        slope(Vector::set(e.slope)),
        factor(Vector::set(e.residual_multiplier)),
        offset(
            Vector::set(-static_cast<float>(zero_byte(e.residual_type)) * e.residual_multiplier)),
        lo_code(Pixels::bytes(e.lo, code_shift(e))),
        hi_code(Pixels::bytes(e.hi, code_shift(e))),
        lowest(Pixels::bytes(static_cast<float>(lowest_code(e.output_type)), code_shift(e))),
        highest(Pixels::bytes(static_cast<float>(highest_code(e.output_type)), code_shift(e))),
        shift(Vector::words(static_cast<int16_t>(code_shift(e)))),
        leaky(e.leaky) {}

  // What is taken off codes so that they are signed bytes.
  static int code_shift(const Epilogue& e) { return 128 - zero_byte(e.output_type); }

  // One output channel, before the residual.
  GLZ_INLINE Pixels::F scaled(const char* sums, const Factors& f, int i) const {
    Pixels::F y = Vector::to_float(Kernel::from_bits(Pixels::load(sums)));
    if (Kernel::kInteger) y = Vector::mul(y, f.multiplier[i]);
    return Vector::add(y, f.bias[i]);
  }
  GLZ_INLINE Pixels::F activated(Pixels::F y) const {
    if (leaky) y = Vector::leaky(y, slope);
    return Vector::clamp(y, lo, hi);
  }
};

// Whether no value can leave the range of int32, nor be NaN, so that codes may be clamped after
// rounding, four to a word. e.lo and e.hi are within_codes.
bool is_tame(const Epilogue& e, int64_t begin, int64_t end) {
  if (!Kernel::kInteger || e.leaky || !holds_codes(e.output_type)) return false;
  if (e.multiplier == nullptr || e.bias == nullptr) return false;
  bool tame = e.residual == nullptr || (e.residual_multiplier < 1e6f);
  for (int64_t c = begin; c < end; ++c) {
    const float m = e.multiplier[c], b = e.bias[c];
    tame &= (m > -0.4f) & (m < 0.4f) & (b > -1e8f) & (b < 1e8f);
  }
  return tame;
}
