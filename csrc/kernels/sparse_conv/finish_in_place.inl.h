// The epilogue of float32 in planes, from registers: a channel is a plane. Included after
// finish_planes.inl.h.

// What a slice's sums become.
enum class Ending { kPartial, kSums, kOutput, kOutputWithResidual };

Ending ending_of(const Job& job, int64_t slice) {
  if (slice + 1 < job.depth.slices) return Ending::kPartial;
  if (Kernel::kInteger || job.pitch.output == 0) return Ending::kSums;
  return job.e.residual != nullptr ? Ending::kOutputWithResidual : Ending::kOutput;
}

constexpr int kForesight = 2;  // channels, where they are finished one by one

template <int V, bool kResidual>
GLZ_INLINE void finish_in_place(const Job& job, const Chunk& chunk, const Constants& constants,
                                int64_t channel, const Kernel::Acc (&acc)[V]) {
  const PlanePlaces at(job, chunk, channel);
  const Factors factors(job.e, channel);
  unroll<V>([&](auto v) GLZ_UNROLLED {
    Pixels::F y = Vector::add(Vector::to_float(acc[v.value]), factors.bias[0]);
    if (kResidual) {
      const Pixels::I residual = Pixels::load(at.added + v.value * kBytes);
      y = Vector::fma(Pixels::as_float(residual), constants.factor, y);
    }
    Pixels::store(at.out + v.value * kBytes, constants.activated(y));
  });
}
