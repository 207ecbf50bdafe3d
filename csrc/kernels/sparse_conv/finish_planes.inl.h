// The epilogue of words of output: four codes, or one float32, of each pixel of a vector. Included
// after job.inl.h.

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

// Where a channel of the chunk is in planes.
struct PlanePlaces {
  char* out;
  const char* added;

  GLZ_INLINE PlanePlaces(const Job& job, const Chunk& chunk, int64_t channel) {
    const int64_t plane = channel / kPerWord<Kernel::Weight>;
    out = static_cast<char*>(job.e.output) + 4 * (plane * job.pitch.output + chunk.row);
    added = static_cast<const char*>(job.e.residual) + 4 * (plane * job.pitch.residual + chunk.row);
  }
  // Asks for their lines.
  template <int V>
  GLZ_INLINE void foresee(bool residual) const {
    unroll<V>([&](auto v) GLZ_UNROLLED {
      if (residual) __builtin_prefetch(added + v.value * kBytes);
      __builtin_prefetch(out + v.value * kBytes, 1);
    });
  }
};

// Output channels [first, end) of a block into planes.
template <bool kResidual, bool kTame>
void finish_words(const Job& job, const Chunk& chunk, int64_t first, int64_t end) {
  constexpr int64_t kStep = kPerWord<Kernel::Weight>;
  const Constants constants = job.constants;  // in registers: stores cannot change it
  const int64_t bytes = parts(chunk.rows, kLanes) * kBytes;
  const char* sums = job.sums;
  for (int64_t channel = first; channel < end; channel += kStep, sums += kStep * kPitch) {
    const PlanePlaces at(job, chunk, channel);
    const Factors factors(job.e, channel);
    for (int64_t b = 0; b < bytes; b += kBytes) {
      Pixels::I residual = Pixels::set(0);
      if (kResidual) residual = Pixels::load(at.added + b);
      Pixels::store(at.out + b,
                    finish_word<kResidual, kTame>(constants, factors, sums + b, residual));
    }
  }
}

void finish_planes(const Job& job, const Chunk& chunk, int64_t first, int64_t end) {
  const bool residual = job.e.residual != nullptr;
  const auto finish = residual
                          ? (job.tame ? finish_words<true, true> : finish_words<true, false>)
                          : (job.tame ? finish_words<false, true> : finish_words<false, false>);
  finish(job, chunk, first, end);
}
