// The sums of R output channels of a pair. One present word of weights is one broadcast, multiplied
// into all pixels of the tile; one that is absent costs nothing. Included after job.inl.h.

// Channels that are computed together, if their sums fit the registers: for the latency of a
// product where a tile has few vectors, and for one end of a loop instead of two.
template <int V>
constexpr int kRows = 2 * V <= Pixels::kRegisters ? 2 : 1;
// Few vectors get two sets of sums, likewise. Not floats: their sums would depend on how the rows
// are cut, and so on the number of threads.
template <int V>
constexpr int kSets = Kernel::kInteger && 2 * V* kRows<V> <= Pixels::kAccumulators ? 2 : 1;

constexpr uint64_t kIndexBytes = kBytes / 8;  // a unit of the index

// count: words of each of the R channels, which lie behind one another; even.
template <int V, int R>
GLZ_INLINE void multiply(const uint32_t* words, const uint16_t* index, int64_t count,
                         const char* tile, Kernel::Acc (&acc)[R][V]) {
  constexpr int S = kSets<V>;
  Kernel::Acc sums[S][R][V];
  unroll<S * R * V>([&](auto i) GLZ_UNROLLED {
    constexpr int s = i.value / (R * V), r = i.value / V % R, v = i.value % V;
    sums[s][r][v] = s == 0 ? acc[r][v] : Kernel::zero();
  });
  const auto step = [&](auto r, uint64_t at, uint32_t word, auto set) GLZ_UNROLLED {
    const char* x = tile + at * kIndexBytes;
    const Kernel::Word w = Kernel::broadcast(word);
    unroll<V>([&](auto v) GLZ_UNROLLED {
      auto& sum = sums[set.value % S][r.value][v.value];
      sum = Kernel::mul_add(sum, Kernel::load(x + v.value * kBytes), w);
    });
  };
  // Indices come in fours, four ahead: loads of the tile have the load ports to themselves.
  uint64_t four[R], next[R];
  unroll<R>([&](auto r) GLZ_UNROLLED { memcpy(&four[r.value], index + r.value * count, 8); });
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    unroll<R>([&](auto r)
                  GLZ_UNROLLED { memcpy(&next[r.value], index + r.value * count + i + 4, 8); });
    unroll<4 * R>([&](auto j) GLZ_UNROLLED {
      constexpr int k = j.value / R, r = j.value % R;
      step(Index<r>(), four[r] >> (16 * k) & 0xffff, words[r * count + i + k], Index<k>());
    });
    unroll<R>([&](auto r) GLZ_UNROLLED { four[r.value] = next[r.value]; });
  }
  if (i < count) {
    unroll<2 * R>([&](auto j) GLZ_UNROLLED {
      constexpr int k = j.value / R, r = j.value % R;
      step(Index<r>(), four[r] >> (16 * k) & 0xffff, words[r * count + i + k], Index<k>());
    });
  }
  unroll<R * V>([&](auto i) GLZ_UNROLLED {
    constexpr int r = i.value / V, v = i.value % V;
    Kernel::Acc sum = sums[0][r][v];
    unroll<S - 1>([&](auto s) GLZ_UNROLLED { sum = Kernel::add(sum, sums[s.value + 1][r][v]); });
    acc[r][v] = sum;
  });
}

// The channels [first, first + 2 * pairs) of a block in the slice that is staged.
template <int V, Ending kEnding>
void multiply_block(const Job& job, const Chunk& chunk, int64_t slice, int64_t first,
                    int64_t pairs) {
  constexpr int R = kRows<V>;
  constexpr bool kResidual = kEnding == Ending::kOutputWithResidual;
  constexpr bool kInPlace = kResidual || kEnding == Ending::kOutput;
  // Copies: stores of sums cannot change them.
  const uint32_t* words = job.weights.words;
  const uint16_t* index = job.weights.index;
  const int32_t* start = job.weights.start + first;
  const int64_t at = slice * sparse_pairs(job.g) + first / 2;
  const int32_t* begin = job.weights.begin + at;
  const uint8_t* order = job.weights.order + 2 * at;
  const char* tile = job.tile;
  char* partial = job.partial + first * kPitch;
  char* to = kEnding == Ending::kSums ? job.sums : partial;
  const Constants constants = job.constants;
  for (int64_t pair = 0; pair < pairs; ++pair, ++begin) {
    if (kEnding == Ending::kSums && job.far && pair % 2 == 0) {
      PlanePlaces(job, chunk, first + 2 * pair).foresee<V>(job.e.residual != nullptr);
    }
    const int64_t count = (begin[1] - begin[0]) / 2;
    int64_t from = begin[0];
    for (int r = 0; r < 2; r += R, from += count, order += R) {
      int64_t place[R];
      Kernel::Acc acc[R][V];
      unroll<R>([&](auto r) GLZ_UNROLLED {
        const int64_t channel = order[r.value];
        place[r.value] = channel * kPitch;
        const char* before = partial + place[r.value];
        unroll<V>([&](auto v) GLZ_UNROLLED {
          acc[r.value][v.value] = slice == 0
                                      ? Kernel::start(start[channel])
                                      : Kernel::from_bits(Pixels::load(before + v.value * kBytes));
        });
        if (kInPlace && job.far) {
          PlanePlaces(job, chunk, first + order[r.value + kForesight]).foresee<V>(kResidual);
        }
      });
      multiply<V, R>(words + from, index + from, count, tile, acc);
      unroll<R>([&](auto r) GLZ_UNROLLED {
        constexpr int i = r.value;
        if constexpr (kInPlace) {
          const int64_t channel = first + order[i];
          if (channel < job.g.out_channels) {
            finish_in_place<V, kResidual>(job, chunk, constants, channel, acc[i]);
          }
        } else {
          unroll<V>([&](auto v) GLZ_UNROLLED {
            Pixels::store(to + place[i] + v.value * kBytes, acc[i][v.value]);
          });
        }
      });
    }
  }
}

template <int V>
auto multiply_blocks(Ending ending) {
  if constexpr (!Kernel::kInteger) {
    if (ending == Ending::kOutput) return multiply_block<V, Ending::kOutput>;
    if (ending == Ending::kOutputWithResidual) {
      return multiply_block<V, Ending::kOutputWithResidual>;
    }
  }
  return ending == Ending::kSums ? multiply_block<V, Ending::kSums>
                                 : multiply_block<V, Ending::kPartial>;
}
