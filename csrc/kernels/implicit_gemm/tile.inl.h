// Part of implicit_gemm.inl.h: the micro-kernel, R output rows x V vectors of output channels.

// Where an output row reads: its first tap may lie outside the image (direct sources only).
struct Row {
  const char* first_tap;
  int32_t ih, iw;
  bool inside;  // all of its taps are inside the image
};

// A part of one panel's depth, and where its result goes.
struct Slice {
  const char* start;    // start values, if kCompensated
  const char* weights;  // of kernel row `row_begin`, word 0
  int64_t channel, channels;
  int64_t row_begin, row_end;    // kernel rows
  int64_t word_begin, word_end;  // of every run
  bool first, last;              // not both: accumulators rest in `partial` between slices
};

struct Job {
  const ConvGeometry* geometry;
  Plan plan;
  Epilogue epilogue;
  int64_t row_step, column_step;  // bytes between taps along kh and kw
  const char* zeros;              // a run outside the image
  Kernel::Acc* partial;           // [block row][vector]
};

template <int R, int V>
GLZ_INLINE void accumulate(Kernel::Acc (&acc)[R][V], const char* const (&taps)[R], const char* w,
                           int64_t words) {
  for (int64_t at = 0; at < 4 * words; at += 4, w += V * Kernel::kVecBytes) {
    Kernel::Vec b[V];
#pragma GCC unroll 4
    for (int64_t line = 0; line < V * Kernel::kVecBytes; line += 64) {
      __builtin_prefetch(w + kPrefetch + line);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) b[v] = Kernel::load(w + v * Kernel::kVecBytes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Kernel::Word a = Kernel::broadcast(taps[r] + at);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = Kernel::mul_add(acc[r][v], a, b[v]);
    }
  }
}

template <int R, int V>
GLZ_INLINE void locate(const Job& job, const Row* rows, bool inside, int64_t i, int64_t j,
                       int64_t skip, const char* (&taps)[R]) {
  const ConvGeometry& g = *job.geometry;
  const int64_t offset = i * job.row_step + j * job.column_step + skip;
  if (inside) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) taps[r] = rows[r].first_tap + offset;
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const uint64_t ih = static_cast<uint64_t>(rows[r].ih + i * g.dh);
    const uint64_t iw = static_cast<uint64_t>(rows[r].iw + j * g.dw);
    const bool valid = ih < static_cast<uint64_t>(g.h) && iw < static_cast<uint64_t>(g.w);
    taps[r] = valid ? rows[r].first_tap + offset : job.zeros + skip;
  }
}

// `rows` are the tile's, `row` its first output row, `at` that row's index within the block.
template <int R, int V>
void compute_tile(const Job& job, const Slice& s, const Row* rows, int64_t row, int64_t at) {
  Kernel::Acc acc[R][V];
  Kernel::Acc* partial = job.partial + at * Kernel::kVecs;
  for (int v = 0; v < V; ++v) {
    const Kernel::Acc start = Kernel::start(s.start + v * Simd::kLanes * 4);
    for (int r = 0; r < R; ++r) acc[r][v] = s.first ? start : partial[r * Kernel::kVecs + v];
  }
  bool inside = true;
  for (int r = 0; r < R; ++r) inside &= rows[r].inside;
  const char* w = s.weights;
  for (int64_t i = s.row_begin; i < s.row_end; ++i) {
    for (int64_t j = 0; j < job.plan.runs_w; ++j, w += job.plan.words * V * Kernel::kVecBytes) {
      const char* taps[R];
      locate<R, V>(job, rows, inside, i, j, 4 * s.word_begin, taps);
      accumulate<R, V>(acc, taps, w + s.word_begin * V * Kernel::kVecBytes,
                       s.word_end - s.word_begin);
    }
  }
  if (s.last) {
    for (int r = 0; r < R; ++r) finish_row<V>(job.epilogue, acc[r], row + r, s.channel, s.channels);
  } else {
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) partial[r * Kernel::kVecs + v] = acc[r][v];
    }
  }
}

using Tile = void (*)(const Job&, const Slice&, const Row*, int64_t row, int64_t at);

template <int R, int V>
Tile choose_tile(int64_t rows, int64_t vecs) {
  if constexpr (V > 1) {
    if (vecs < V) return choose_tile<R, V - 1>(rows, vecs);
  }
  if constexpr (R > 1) {
    if (rows < R) return choose_tile<R - 1, V>(rows, vecs);
  }
  return &compute_tile<R, V>;
}
