// Part of implicit_gemm.inl.h: blocks of rows, panels within a block, slices of depth, tiles.

// Short runs in a staged source: one list of all words has less overhead than a loop for each run.
GLZ_INLINE bool lists_words(const Plan& plan) {
  return plan.source == Source::kStagedImages && plan.words < 16 && plan.depth() <= 1024;
}

struct Workspace {
  int64_t stage, zeros, offsets, partial, rows, total;  // offsets in bytes
};

GLZ_INLINE Workspace make_workspace(const ConvGeometry& g, const Plan& plan,
                                    const Blocking& blocking) {
  Workspace w = {};
  w.zeros = w.stage + aligned(blocking.stage_rows * staged_row_bytes(g, plan) + 64);
  w.offsets = w.zeros + (plan.source == Source::kDirect ? aligned(4 * plan.words) : 0);
  w.partial = w.offsets + (lists_words(plan) ? aligned(8 * plan.depth()) : 0);
  w.rows = w.partial + blocking.rows * Kernel::kVecs * static_cast<int64_t>(sizeof(Kernel::Acc));
  w.total = w.rows + aligned(blocking.rows * static_cast<int64_t>(sizeof(Row)));
  return w;
}

size_t workspace_bytes(const ConvGeometry& g) {
  const Plan plan = make_plan(g);
  return static_cast<size_t>(make_workspace(g, plan, make_blocking(g, plan)).total);
}

// A direct source whose every tap is a pixel.
GLZ_INLINE bool never_outside(const ConvGeometry& g) {
  return g.pad_top == 0 && g.pad_left == 0 && (g.oh - 1) * g.sh + (g.kh - 1) * g.dh < g.h &&
         (g.ow - 1) * g.sw + (g.kw - 1) * g.dw < g.w;
}

// `count` pixels of one output image row, from column `ow` on.
GLZ_INLINE void locate_columns(const ConvGeometry& g, const View& view, bool staged, int64_t image,
                               int64_t oh, int64_t ow, int64_t count, Row* rows) {
  const int64_t ih = oh * g.sh - (staged ? 0 : g.pad_top);
  const int64_t row = image * view.image_rows + ih - view.first_row;
  const bool row_inside = staged || (ih >= 0 && ih + (g.kh - 1) * g.dh < g.h);
  int64_t iw = ow * g.sw - (staged ? 0 : g.pad_left);
  // The columns from which every tap is inside: [0, safe).
  const int64_t safe = row_inside ? (staged ? INT32_MAX : most(0, g.w - (g.kw - 1) * g.dw)) : 0;
  const char* tap = view.base + (row * view.row_pitch + iw * view.pixel_pitch);
  const int64_t step = g.sw * view.pixel_pitch;
  const Row* end = rows + count;
  if (staged || never_outside(g)) {  // nobody asks where inside
    for (; rows < end; ++rows, tap += step) {
      rows->first_tap = tap;
      rows->inside = true;
    }
    return;
  }
  for (; rows < end; ++rows, tap += step, iw += g.sw) {
    rows->first_tap = tap;
    rows->ih = static_cast<int32_t>(ih);
    rows->iw = static_cast<int32_t>(iw);
    rows->inside = static_cast<uint64_t>(iw) < static_cast<uint64_t>(safe);
  }
}

// Rows [begin, end) of a source that holds whole images.
void locate_image_rows(const ConvGeometry& g, const View& view, bool staged, int64_t begin,
                       int64_t end, Row* rows) {
  while (begin < end) {
    const int64_t ow = begin % g.ow, oh = begin / g.ow % g.oh, image = begin / g.ow / g.oh;
    const int64_t count = least(g.ow - ow, end - begin);
    locate_columns(g, view, staged, image, oh, ow, count, rows);
    rows += count;
    begin += count;
  }
}

// The bytes between taps, and the list of words.
void locate_taps(Job* job) {
  const ConvGeometry& g = *job->geometry;
  const Plan& plan = job->plan;
  const bool direct = plan.source == Source::kDirect;
  const int64_t pixel = g.stride_c * static_cast<int64_t>(sizeof(Input));
  job->row_step = g.dh * (direct ? g.w * pixel : staged_row_bytes(g, plan));
  job->column_step = g.dw * (direct ? pixel : staged_pixel_bytes(g));
  if (!lists_words(plan)) {
    job->offsets = nullptr;
    return;
  }
  int64_t* to = job->offsets;
  for (int64_t i = 0; i < plan.runs_h; ++i) {
    for (int64_t j = 0; j < plan.runs_w; ++j) {
      for (int64_t k = 0; k < plan.words; ++k) {
        *to++ = i * job->row_step + j * job->column_step + 4 * k;
      }
    }
  }
}

// Fills `rows`, staging the input first if the plan says so.
void locate_block(const ConvGeometry& g, const Plan& plan, const Input* input, int64_t begin,
                  int64_t end, char* stage, Row* rows) {
  if (plan.source == Source::kStagedPixels) {
    stage_one_tap(g, plan, input, begin, end, stage);
    const int64_t pitch = staged_row_bytes(g, plan);
    for (int64_t r = 0; r < end - begin; ++r) rows[r] = {stage + r * pitch, 0, 0, true};
    return;
  }
  const int64_t pixel = g.stride_c * static_cast<int64_t>(sizeof(Input));
  const View view = plan.source == Source::kDirect
                        ? View{reinterpret_cast<const char*>(input), g.h, 0, g.w * pixel, pixel}
                        : stage_images(g, plan, input, begin, end, stage);
  locate_image_rows(g, view, plan.source != Source::kDirect, begin, end, rows);
}

// A slice of depth over all rows of a block, in tiles of nearly equal height.
void run_slice(const Job& job, const Slice& slice, const Row* rows, int64_t begin, int64_t end) {
  const int64_t vecs = parts(slice.channels, Simd::kLanes), count = end - begin;
  const int64_t tiles = parts(count, Kernel::kRows), height = count / tiles, taller = count % tiles;
  const Tiles high = choose_tiles<Kernel::kRows, Kernel::kVecs>(height + 1, vecs);
  const Tiles low = choose_tiles<Kernel::kRows, Kernel::kVecs>(height, vecs);
  if (taller > 0) high(job, slice, rows, begin, 0, taller);
  const int64_t at = taller * (height + 1);
  low(job, slice, rows, begin + at, at, tiles - taller);
}

// Spreads the fetching of the `bytes` at `next` over the rows of a block and their words. Not if
// that is more than two lines a word: such weights are used once and fetched as they are used.
GLZ_INLINE void fetch_next(const Plan& plan, const char* next, int64_t bytes, int64_t rows,
                           Slice* slice) {
  const int64_t tiles = parts(rows, Kernel::kRows);
  const int64_t words =
      (slice->row_end - slice->row_begin) * plan.runs_w * (slice->word_end - slice->word_begin);
  const int64_t step = parts(bytes, tiles * words);
  const bool worthwhile = next != nullptr && step <= 128;
  slice->next = worthwhile ? next : slice->weights;
  slice->next_row = worthwhile ? bytes / rows : 0;
  slice->next_word = worthwhile ? step : 0;
}

// One panel: its depth in slices that stay in the L2 cache while the rows of the block pass by.
// `after` is the panel that follows, or null.
void run_panel(const Job& job, Slice slice, const char* after, const Row* rows, int64_t begin,
               int64_t end) {
  const Plan& plan = job.plan;
  const int64_t word_bytes = parts(slice.channels, Simd::kLanes) * Kernel::kVecBytes;
  const int64_t row_words = plan.runs_w * plan.words;
  const int64_t limit = most(64, cache_sizes().l2 * 2 / 5 / word_bytes);
  const bool whole = end - begin <= Kernel::kRows || plan.depth() <= limit;
  const int64_t row_parts = whole ? 1 : parts(plan.runs_h, most(1, limit / row_words));
  const int64_t word_parts = whole ? 1 : parts(row_words, limit);
  const int64_t slice_bytes = plan.depth() * word_bytes / row_parts / word_parts;
  const char* weights = slice.weights;
  for (int64_t i = 0; i < row_parts; ++i) {
    slice.row_begin = plan.runs_h * i / row_parts;
    slice.row_end = plan.runs_h * (i + 1) / row_parts;
    slice.weights = weights + slice.row_begin * row_words * word_bytes;
    for (int64_t k = 0; k < word_parts; ++k) {
      slice.word_begin = plan.words * k / word_parts;
      slice.word_end = plan.words * (k + 1) / word_parts;
      slice.first = i == 0 && k == 0;
      slice.last = i + 1 == row_parts && k + 1 == word_parts;
      const char* next = after;
      if (k + 1 < word_parts) {
        next = slice.weights + slice.word_end * word_bytes;
      } else if (i + 1 < row_parts) {
        next = weights + slice.row_end * row_words * word_bytes;
      }
      fetch_next(plan, next, slice_bytes, end - begin, &slice);
      run_slice(job, slice, rows, begin, end);
    }
  }
}

template <typename Args>
void run(const Args& args, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  const ConvGeometry& g = args.geometry;
  const Plan plan = make_plan(g);
  const Blocking blocking = make_blocking(g, plan);
  const Workspace at = make_workspace(g, plan, blocking);
  char* workspace = static_cast<char*>(args.workspace);
  Row* rows = reinterpret_cast<Row*>(workspace + at.rows);
  Job job = {&g,
             plan,
             Finish(args.epilogue),
             0,
             0,
             workspace + at.zeros,
             reinterpret_cast<int64_t*>(workspace + at.offsets),
             reinterpret_cast<Kernel::Acc*>(workspace + at.partial),
             plan.source != Source::kDirect || never_outside(g)};
  locate_taps(&job);
  if (plan.source == Source::kDirect)
    memset(workspace + at.zeros, static_cast<int>(Kernel::pad(g.zero)), 4 * plan.words);
  const int64_t full_panel = panel_bytes(plan, Kernel::kVecs);
  for (int64_t begin = row_begin, end; begin < row_end; begin = end) {
    end = least(row_end, begin + blocking.rows);
    if (plan.source == Source::kStagedImages)
      end = least(row_end, begin / g.ow * g.ow + blocking.rows);
    locate_block(g, plan, args.input, begin, end, workspace + at.stage, rows);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const char* packed = static_cast<const char*>(args.packed) + panel * full_panel;
      Slice slice = {};
      slice.start = packed;
      slice.channel = panel * kPanel;
      slice.channels = least(kPanel, g.out_channels - slice.channel);
      slice.weights = packed + (Kernel::kCompensated ? 4 * panel_vecs(g, panel) * Simd::kLanes : 0);
      const char* after = panel + 1 < panel_end ? packed + full_panel : nullptr;
      run_panel(job, slice, after, rows, begin, end);
    }
  }
}
