// The sums of one output channel. One present word of weights is one broadcast, multiplied into all
// pixels of the tile; one that is absent costs nothing. Included after job.inl.h.

constexpr int kIndexBytes = static_cast<int>(kPitch / kIndexUnit);

// Few vectors get two sets of sums, for the latency of a product.
template <int V>
constexpr int kSets = 2 * V <= Pixels::kAccumulators ? 2 : 1;

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
  // Indices come in pairs, one pair ahead: loads of the tile have the load ports to themselves.
  uint32_t pair, next;
  memcpy(&pair, index, sizeof pair);
  for (int64_t i = 0; i < count; i += 2, pair = next) {
    memcpy(&next, index + i + 2, sizeof next);
    step(pair & 0xffff, words[i], Index<0>());
    step(pair >> 16, words[i + 1], Index<1>());
  }
  unroll<V>([&](auto v) GLZ_UNROLLED {
    Kernel::Acc sum = sums[0][v.value];
    unroll<S - 1>([&](auto s) GLZ_UNROLLED { sum = Kernel::add(sum, sums[s.value + 1][v.value]); });
    acc[v.value] = sum;
  });
}
