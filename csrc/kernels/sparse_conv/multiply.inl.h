// The sums of one output channel. One present word of weights is one broadcast, multiplied into all
// pixels of the tile; one that is absent costs nothing. Included after job.inl.h.

constexpr int kIndexBytes = static_cast<int>(kPitch / kIndexUnit);

// Few vectors get several sets of sums, for the latency of a product.
template <int V>
constexpr int kSets = 4 * V <= Pixels::kAccumulators   ? 4
                      : 2 * V <= Pixels::kAccumulators ? 2
                                                       : 1;

template <int V>
GLZ_INLINE void multiply(const uint32_t* words, const uint16_t* index, int64_t count,
                         const char* tile, Kernel::Acc (&acc)[V]) {
  constexpr int S = kSets<V>;
  Kernel::Acc sums[S][V];
  unroll<S * V>([&](auto i) GLZ_UNROLLED {
    constexpr int s = i.value / V, v = i.value % V;
    sums[s][v] = s == 0 ? acc[v] : Kernel::zero();
  });
  const auto step = [&](uint64_t at, uint32_t word, auto set) GLZ_UNROLLED {
    const char* x = tile + at * kIndexBytes;
    const Kernel::Word w = Kernel::broadcast(word);
    unroll<V>([&](auto v) GLZ_UNROLLED {
      auto& sum = sums[set.value % S][v.value];
      sum = Kernel::mul_add(sum, Kernel::load(x + v.value * kBytes), w);
    });
  };
  // Indices come four at a time: loads of the tile have the load ports to themselves.
  int64_t i = 0;
  uint64_t four;
  for (; i + 4 <= count; i += 4) {
    memcpy(&four, index + i, sizeof four);
    step(four & 0xffff, words[i], Index<0>());
    step(four >> 16 & 0xffff, words[i + 1], Index<1>());
    step(four >> 32 & 0xffff, words[i + 2], Index<2>());
    step(four >> 48, words[i + 3], Index<3>());
  }
  memcpy(&four, index + i, sizeof four);
  for (; i < count; ++i, four >>= 16) step(four & 0xffff, words[i], Index<0>());
  unroll<V>([&](auto v) GLZ_UNROLLED {
    Kernel::Acc sum = sums[0][v.value];
    unroll<S - 1>([&](auto s) GLZ_UNROLLED { sum = Kernel::add(sum, sums[s.value + 1][v.value]); });
    acc[v.value] = sum;
  });
}
