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
  bool first, last;              // if not both, accumulators rest in `partial` between slices
  const char* next;              // what is wanted after this slice, fetched from afar meanwhile:
  int64_t next_row, next_word;   // so many bytes a row, so many a word
};

struct Job {
  const ConvGeometry* geometry;
  Plan plan;
  Finish finish;
  int64_t row_step, column_step;  // bytes between taps along kh and kw
  const char* zeros;              // a run outside the image
  int64_t* offsets;               // of every word of the depth from a row's first tap; or null
  Kernel::Acc* partial;           // [block row][vector]
  bool all_inside;                // no run of any row is outside the image
};

// One word of R rows, `at` bytes behind `taps`, times V vectors of weights.
template <int R, int V>
GLZ_INLINE void accumulate_word(Kernel::Acc (&acc)[R][V], const char* const (&taps)[R], int64_t at,
                                const char* w) {
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

// Into the L2 cache: enough for a `next_word` of up to two lines.
GLZ_INLINE void fetch_lines(const char* next) {
  __builtin_prefetch(next, 0, 2);
  __builtin_prefetch(next + 64, 0, 2);
}

// Tap (i, j) of rows that partly lie outside the image.
__attribute__((noinline)) void locate_outside(const Job& job, const Row* rows, int64_t count,
                                              int64_t i, int64_t j, const char** taps) {
  const ConvGeometry& g = *job.geometry;
  for (int64_t r = 0; r < count; ++r) {
    const uint64_t ih = static_cast<uint64_t>(rows[r].ih + i * g.dh);
    const uint64_t iw = static_cast<uint64_t>(rows[r].iw + j * g.dw);
    const bool valid = ih < static_cast<uint64_t>(g.h) && iw < static_cast<uint64_t>(g.w);
    taps[r] = valid ? rows[r].first_tap + i * job.row_step + j * job.column_step : job.zeros;
  }
}

template <int R, int V>
GLZ_INLINE void start_tile(const Slice& s, const Kernel::Acc* partial, Kernel::Acc (&acc)[R][V]) {
  if (s.first) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Kernel::Acc start = Kernel::start(s.start + v * Simd::kLanes * 4);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) acc[r][v] = start;
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[r][v] = partial[r * Kernel::kVecs + v];
    }
  }
}

template <int R, int V>
GLZ_INLINE void end_tile(const Job& job, const Slice& s, const Kernel::Acc (&acc)[R][V],
                         int64_t row, Kernel::Acc* partial) {
  if (s.last) return finish_tile<R, V>(job.finish, acc, row, s.channel, s.channels);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) partial[r * Kernel::kVecs + v] = acc[r][v];
  }
}

template <int R>
GLZ_INLINE bool all_inside(const Row* rows) {
  bool inside = true;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) inside &= rows[r].inside;
  return inside;
}

// What plain_tiles() computes: a whole depth of one run or of listed words, and the usual epilogue.
// It is worth code of its own because short depths wait for what surrounds the loop over words,
// which in compute_tiles() leaves too few registers for addresses.
template <int V>
GLZ_INLINE bool suits_plain_tiles(const Job& job, const Slice& s) {
  const Plan& plan = job.plan;
  const bool one_run = job.offsets != nullptr || plan.runs_h * plan.runs_w == 1;
  return one_run && job.all_inside && s.first && s.last && job.finish.common &&
         !job.finish.e.leaky && s.channels == V * Simd::kLanes;
}

template <int R, int V, bool kListed, bool kResidual>
__attribute__((noinline)) void plain_tiles(const Job& job, const Slice& s, const Row* rows,
                                           int64_t row, int64_t at, int64_t tiles) {
  constexpr int64_t kStep = V * Kernel::kVecBytes;
  const int64_t depth = job.plan.depth();
  for (; tiles > 0; --tiles, row += R, at += R) {
    Kernel::Acc acc[R][V];
    start_tile<R, V>(s, job.partial, acc);
    const char* taps[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) taps[r] = rows[at + r].first_tap;
    const char* w = s.weights;
    const char* next = s.next + at * s.next_row;
    for (int64_t k = 0; k < depth; ++k, w += kStep, next += s.next_word) {
      fetch_lines(next);
      accumulate_word<R, V>(acc, taps, kListed ? job.offsets[k] : 4 * k, w);
    }
    // Now: GCC would keep sums in memory for the epilogue's sake.
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) asm volatile("" : "+v"(acc[r][v]));
    }
    finish_common<kResidual, true, R, V>(job.finish, acc, row, s.channel, Simd::kLanes);
  }
}

template <int R, int V, bool kListed>
GLZ_INLINE void run_plain_tiles(const Job& job, const Slice& s, const Row* rows, int64_t row,
                                int64_t at, int64_t tiles) {
  if (job.finish.e.residual == nullptr) {
    plain_tiles<R, V, kListed, false>(job, s, rows, row, at, tiles);
  } else {
    plain_tiles<R, V, kListed, true>(job, s, rows, row, at, tiles);
  }
}

// `tiles` of R rows each, from output row `row` on, which is number `at` of the block.
template <int R, int V>
void compute_tiles(const Job& job, const Slice& s, const Row* rows, int64_t row, int64_t at,
                   int64_t tiles) {
  if constexpr (R + 1 >= Kernel::kRows) {
    if (suits_plain_tiles<V>(job, s)) {
      if (job.offsets == nullptr) return run_plain_tiles<R, V, false>(job, s, rows, row, at, tiles);
      return run_plain_tiles<R, V, true>(job, s, rows, row, at, tiles);
    }
  }
  constexpr int64_t kStep = V * Kernel::kVecBytes;
  const int64_t run_bytes = job.plan.words * kStep;
  const int64_t skip = s.word_begin * kStep;
  for (; tiles > 0; --tiles, row += R, at += R) {
    Kernel::Acc* partial = job.partial + at * Kernel::kVecs;
    Kernel::Acc acc[R][V];
    start_tile<R, V>(s, partial, acc);
    const char* w = s.weights + skip;
    const char* next = s.next + at * s.next_row;
    const char* taps[R];
    const bool inside = all_inside<R>(rows + at);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) taps[r] = rows[at + r].first_tap;
    if (job.offsets != nullptr && s.first && s.last) {
      for (int64_t k = 0; k < job.plan.depth(); ++k, w += kStep, next += s.next_word) {
        fetch_lines(next);
        accumulate_word<R, V>(acc, taps, job.offsets[k], w);
      }
    } else {
      for (int64_t i = s.row_begin; i < s.row_end; ++i) {
        for (int64_t j = 0; j < job.plan.runs_w; ++j, w += run_bytes) {
          int64_t offset = i * job.row_step + j * job.column_step;
          if (!inside) {
            locate_outside(job, rows + at, R, i, j, taps);
            offset = 0;
          }
          const char* word = w;
          const int64_t end = offset + 4 * s.word_end;
          for (int64_t k = offset + 4 * s.word_begin; k < end; k += 4, word += kStep) {
            fetch_lines(next);
            next += s.next_word;
            accumulate_word<R, V>(acc, taps, k, word);
          }
        }
      }
    }
    end_tile<R, V>(job, s, acc, row, partial);
  }
}

using Tiles = void (*)(const Job&, const Slice&, const Row*, int64_t row, int64_t at,
                       int64_t tiles);

template <int R, int V>
Tiles choose_tiles(int64_t rows, int64_t vecs) {
  if constexpr (V > 1) {
    if (vecs < V) return choose_tiles<R, V - 1>(rows, vecs);
  }
  if constexpr (R > 1) {
    if (rows < R) return choose_tiles<R - 1, V>(rows, vecs);
  }
  return &compute_tiles<R, V>;
}
