// The epilogue of words of output: four codes, or one float32, of each pixel of a vector. Included
// after job.inl.h.

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

// sums: of the word's first channel; those of the next are kPitch further on.
template <bool kResidual, bool kTame>
GLZ_INLINE Pixels::I finish_word(const Constants& e, const Factors& f, const char* sums,
                                 Pixels::I residual) {
  if constexpr (!Kernel::kInteger) {
    Pixels::F y = e.scaled(sums, f, 0);
    if (kResidual) y = Vector::fma(Pixels::as_float(residual), e.factor, y);
    return Pixels::as_int(e.activated(y));
  } else {
    Pixels::F y[kQuad];
    unroll<kQuad>([&](auto i) GLZ_UNROLLED {
      Pixels::F x = e.scaled(sums + i.value * kPitch, f, i.value);
      if (kResidual) {
        // float(code) * factor, in one rounding as the factor times the zero byte is exact.
        const Pixels::F code = Vector::to_float(Pixels::byte(residual, i.value));
        x = Vector::add(x, Vector::fma(code, e.factor, e.offset));
      }
      y[i.value] = kTame ? x : e.activated(x);
    });
    if (kTame) return Pixels::codes(y[0], y[1], y[2], y[3], e.lo_code, e.hi_code, e.shift);
    return Pixels::codes(y[0], y[1], y[2], y[3], e.lowest, e.highest, e.shift);
  }
}

// `channels` output channels from `channel` on, at most a quad, into planes.
template <bool kResidual, bool kTame>
void finish_quad(const Job& job, const Chunk& chunk, const char* quad_sums, int64_t channel,
                 int64_t channels) {
  constexpr int64_t kStep = kPerWord<Kernel::Weight>;
  const Constants constants(job.e);
  const int64_t bytes = parts(chunk.rows, kLanes) * kBytes;
  for (int64_t c = 0; c < channels; c += kStep) {
    const int64_t plane = (channel + c) / kStep;
    char* out = static_cast<char*>(job.e.output) + 4 * (plane * job.pitch.output + chunk.row);
    const char* added =
        static_cast<const char*>(job.e.residual) + 4 * (plane * job.pitch.residual + chunk.row);
    const Factors factors(job.e, channel + c);
    const char* sums = quad_sums + c * kPitch;
    for (int64_t b = 0; b < bytes; b += kBytes) {
      Pixels::I residual = Pixels::set(0);
      if (kResidual) residual = Pixels::load(added + b);
      Pixels::store(out + b, finish_word<kResidual, kTame>(constants, factors, sums + b, residual));
    }
  }
}

void finish_planes(const Job& job, const Chunk& chunk, const char* sums, int64_t channel,
                   int64_t channels) {
  const bool residual = job.e.residual != nullptr;
  const auto finish = residual ? (job.tame ? finish_quad<true, true> : finish_quad<true, false>)
                               : (job.tame ? finish_quad<false, true> : finish_quad<false, false>);
  finish(job, chunk, sums, channel, channels);
}
