// Sparse times dense with vectors over columns of X. Included inside the anonymous namespace of an
// ISA file after Vector. `Kernel` is one number type on one ISA:
//
//   Value, kPerWord       what a word of S holds
//   kInteger, kPadWord    whether sums are int32; a staged word of absent columns
//   Acc, Small            sums of kLanes columns; of four words of one column
//   zero, load, store, add, broadcast, mul_add(acc, x, w), start(sum of values)
//   small_zero, small_words, small_mul_add, small_total    the same on Small
//
// A tile of up to kVecs vectors of columns is staged as [word][column], so that one word of S is
// one broadcast, multiplied into all of them, and an absent word costs nothing. One column has
// nothing to share: there words are streamed, four at a time.

constexpr int64_t kVecs = 6;
constexpr int64_t kPanel = 16;  // rows that are finished together
constexpr int64_t kLanes = Vector::kLanes;
constexpr int64_t kTile = kVecs * kLanes;
constexpr int64_t kBlockRows = 4096;  // whose sums wait for the next slice of the depth

GLZ_INLINE int64_t aligned(int64_t bytes) { return parts(bytes, 64) * 64; }

// Sixteen columns of [word][column] from values [k][n] or [n][k].
template <typename Kernel>
GLZ_INLINE uint32_t staged_word(const SpmmArgs& a, const typename Kernel::Value* column,
                                int64_t first) {
  typename Kernel::Value values[Kernel::kPerWord];
  for (int64_t i = 0; i < Kernel::kPerWord; ++i) {
    values[i] = first + i < a.k ? column[(first + i) * a.x_row] : 0;
  }
  return Kernel::word(values);
}

// Words [begin, end) of the depth of `count` columns from `column` on, `width` of them apart.
template <typename Kernel>
void stage(const SpmmArgs& a, int64_t begin, int64_t end, int64_t column, int64_t count,
           int64_t width, uint32_t* to) {
  constexpr int64_t kPer = Kernel::kPerWord;
  const auto* x = static_cast<const typename Kernel::Value*>(a.x) + column * a.x_column;
  const int64_t whole = a.x_column == 1 || a.x_row == 1 ? least(end, a.k / kPer) : begin;
  if (a.x_column == 1) {
    for (int64_t at = begin; at < whole; ++at) {
      const auto* row = x + at * kPer * a.x_row;
      uint32_t* out = to + (at - begin) * width;
      for (int64_t j = 0; j < count; ++j) {
        typename Kernel::Value values[kPer];
        for (int64_t i = 0; i < kPer; ++i) values[i] = row[i * a.x_row + j];
        out[j] = Kernel::word(values);
      }
    }
  } else {
    for (int64_t j = 0; j < count; ++j) {
      const auto* from = x + j * a.x_column;
      for (int64_t at = begin; at < whole; ++at) {
        typename Kernel::Value values[kPer];
        memcpy(values, from + at * kPer, sizeof values);
        to[(at - begin) * width + j] = Kernel::word(values);
      }
    }
  }
  for (int64_t at = begin > whole ? begin : whole; at < end; ++at) {
    for (int64_t j = 0; j < count; ++j) {
      to[(at - begin) * width + j] = staged_word<Kernel>(a, x + j * a.x_column, at * kPer);
    }
  }
  for (int64_t at = 0; at < end - begin; ++at) {
    for (int64_t j = count; j < width; ++j) to[at * width + j] = Kernel::kPadWord;
  }
}

// A slice, and behind it what the words read that only fill up a row.
template <typename Kernel>
void stage_slice(const SpmmArgs& a, int64_t slice, int64_t column, int64_t count, int64_t width,
                 uint32_t* to) {
  const int64_t size = a.s.slice;
  stage<Kernel>(a, slice * size, least(a.s.depth, (slice + 1) * size), column, count, width, to);
  memset(to + size * width, 0, static_cast<size_t>(width) * sizeof *to);
}

// What streams is used once: the hardware alone does not read far enough ahead.
GLZ_INLINE void prefetch_words(const uint32_t* words, const uint16_t* index) {
  constexpr int64_t kAhead = 8192;
  __builtin_prefetch(reinterpret_cast<const char*>(words) + kAhead);
  __builtin_prefetch(reinterpret_cast<const char*>(index) + kAhead);
}

// One row's words of a slice, whole groups. Few vectors get several sets of sums, for the latency.
template <typename Kernel, int V>
GLZ_INLINE void multiply(const uint32_t* words, const uint16_t* index, int64_t count,
                         const uint32_t* staged, typename Kernel::Acc (&acc)[V]) {
  constexpr int kSets = V == 1 ? 4 : V <= 4 ? 2 : 1;
  typename Kernel::Acc sums[kSets][V];
  unroll<V>([&](auto v) GLZ_UNROLLED {
    sums[0][v.value] = acc[v.value];
    unroll<kSets - 1>([&](auto s) GLZ_UNROLLED { sums[s.value + 1][v.value] = Kernel::zero(); });
  });
  const auto step = [&](int64_t i, auto set) GLZ_UNROLLED {
    const uint32_t* x = staged + static_cast<int64_t>(index[i]) * (V * kLanes);
    auto w = Kernel::broadcast(words[i]);
    asm("" : "+v"(w));  // or else it is broadcast from memory V times
    unroll<V>([&](auto v) GLZ_UNROLLED {
      auto& sum = sums[set.value][v.value];
      sum = Kernel::mul_add(sum, Kernel::load(x + v.value * kLanes), w);
    });
  };
  for (int64_t i = 0; i < count; i += kSpmmGroup) {
    if (V <= 2) prefetch_words(words + i, index + i);
    unroll<kSpmmGroup>([&](auto s) GLZ_UNROLLED { step(i + s.value, Index<s.value % kSets>()); });
  }
  unroll<V>([&](auto v) GLZ_UNROLLED {
    acc[v.value] = sums[0][v.value];
    unroll<kSets - 1>([&](auto s) GLZ_UNROLLED {
      acc[v.value] = Kernel::add(acc[v.value], sums[s.value + 1][v.value]);
    });
  });
}

struct Workspace {
  int64_t staged, panel, partial, total;  // offsets in bytes
};

GLZ_INLINE Workspace make_workspace(const SpmmArgs& a) {
  Workspace w;
  w.staged = 0;
  const int64_t width = a.n == 1 ? 1 : kTile;
  w.panel = aligned((a.s.slice + 1) * width * 4 * (a.n == 1 ? a.s.slices : 1));
  w.partial = w.panel + aligned(kPanel * width * 4);
  w.total = w.partial + (a.n > 1 && a.s.slices > 1 ? least(a.s.m, kBlockRows) * kTile * 4 : 0);
  return w;
}

size_t workspace_bytes(const SpmmArgs& a) { return static_cast<size_t>(make_workspace(a).total); }

// A tile of V vectors of columns, `count` of them valid, times all rows.
template <typename Kernel, int V>
void run_tile(const SpmmArgs& a, int64_t row_begin, int64_t row_end, int64_t column,
              int64_t count) {
  constexpr int64_t kWidth = V * kLanes;
  using Acc = typename Kernel::Acc;
  const Workspace at = make_workspace(a);
  char* workspace = static_cast<char*>(a.workspace);
  auto* staged = reinterpret_cast<uint32_t*>(workspace + at.staged);
  auto* panel = reinterpret_cast<uint32_t*>(workspace + at.panel);
  auto* partial = reinterpret_cast<uint32_t*>(workspace + at.partial);
  const SpmmPacked& s = a.s;
  for (int64_t slice = 0; slice < s.slices; ++slice) {
    const bool last = slice + 1 == s.slices;
    stage_slice<Kernel>(a, slice, column, count, kWidth, staged);
    const int32_t* begin = s.begin + slice * s.m;
    for (int64_t row = row_begin; row < row_end; ++row) {
      uint32_t* sums = partial + (row - row_begin) * kWidth;
      Acc acc[V];
      if (slice == 0) {
        unroll<V>([&](auto v) GLZ_UNROLLED { acc[v.value] = Kernel::start(s.sums[row]); });
      } else {
        unroll<V>([&](auto v)
                      GLZ_UNROLLED { acc[v.value] = Kernel::load(sums + v.value * kLanes); });
      }
      multiply<Kernel, V>(s.words + begin[row], s.index + begin[row], begin[row + 1] - begin[row],
                          staged, acc);
      const int64_t in_panel = (row - row_begin) % kPanel;
      if (last) sums = panel + in_panel * kWidth;
      unroll<V>([&](auto v) GLZ_UNROLLED { Kernel::store(sums + v.value * kLanes, acc[v.value]); });
      if (last && (in_panel + 1 == kPanel || row + 1 == row_end)) {
        finish<Kernel::kInteger>(a, panel, kWidth, row - in_panel, in_panel + 1, column, count);
      }
    }
  }
}

GLZ_INLINE __m128i four_words(const uint32_t* x, const uint16_t* index) {
  const auto word = [=](int i) { return static_cast<int>(x[index[i]]); };
  return _mm_set_epi32(word(3), word(2), word(1), word(0));
}

// The one column of X, staged whole, times one row.
template <typename Kernel>
GLZ_INLINE uint32_t row_sum(const SpmmPacked& s, int64_t row, const uint32_t* staged) {
  typename Kernel::Small sums[4];
  for (auto& sum : sums) sum = Kernel::small_zero();
  auto tail = Kernel::small_zero();
  for (int64_t slice = 0; slice < s.slices; ++slice) {
    const int32_t* begin = s.begin + slice * s.m + row;
    const uint32_t* x = staged + slice * (s.slice + 1);
    const uint32_t* words = s.words + begin[0];
    const uint16_t* index = s.index + begin[0];
    const int64_t count = begin[1] - begin[0];
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      prefetch_words(words + i, index + i);
      unroll<4>([&](auto k) GLZ_UNROLLED {
        const int64_t j = i + 4 * k.value;
        sums[k.value] = Kernel::small_mul_add(sums[k.value], four_words(x, index + j), words + j);
      });
    }
    for (; i < count; i += 4) {
      tail = Kernel::small_mul_add(tail, four_words(x, index + i), words + i);
    }
  }
  sums[0] =
      Kernel::small_add(Kernel::small_add(sums[0], sums[1]), Kernel::small_add(sums[2], sums[3]));
  return Kernel::small_total(Kernel::small_add(sums[0], tail), s.sums[row]);
}

template <typename Kernel>
void run_column(const SpmmArgs& a, int64_t row_begin, int64_t row_end) {
  const Workspace at = make_workspace(a);
  char* workspace = static_cast<char*>(a.workspace);
  auto* staged = reinterpret_cast<uint32_t*>(workspace + at.staged);
  auto* panel = reinterpret_cast<uint32_t*>(workspace + at.panel);
  for (int64_t slice = 0; slice < a.s.slices; ++slice) {
    stage_slice<Kernel>(a, slice, 0, 1, 1, staged + slice * (a.s.slice + 1));
  }
  for (int64_t row = row_begin; row < row_end; row += kPanel) {
    const int64_t rows = least(kPanel, row_end - row);
    for (int64_t r = 0; r < rows; ++r) panel[r] = row_sum<Kernel>(a.s, row + r, staged);
    finish<Kernel::kInteger>(a, panel, 1, row, rows, 0, 1);
  }
}

template <typename Kernel>
void run(const SpmmArgs& a, int64_t row_begin, int64_t row_end, int64_t column_begin,
         int64_t column_end) {
  using Function = void (*)(const SpmmArgs&, int64_t, int64_t, int64_t, int64_t);
  constexpr Function kTiles[] = {run_tile<Kernel, 1>, run_tile<Kernel, 2>, run_tile<Kernel, 3>,
                                 run_tile<Kernel, 4>, run_tile<Kernel, 5>, run_tile<Kernel, 6>};
  if (row_end <= row_begin || column_end <= column_begin) return;
  if (a.n == 1) return run_column<Kernel>(a, row_begin, row_end);
  const int64_t vecs = parts(column_end - column_begin, kLanes), tiles = parts(vecs, kVecs);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = vecs * tile / tiles, last = vecs * (tile + 1) / tiles;
    const int64_t column = column_begin + first * kLanes;
    const int64_t count = least(column_end - column, (last - first) * kLanes);
    for (int64_t row = row_begin; row < row_end; row += kBlockRows) {
      kTiles[last - first - 1](a, row, least(row + kBlockRows, row_end), column, count);
    }
  }
}
