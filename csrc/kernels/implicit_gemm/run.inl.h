// Part of implicit_gemm.inl.h: blocks of rows, panels within a block, slices of depth, tiles.

struct Workspace {
  int64_t stage, zeros, partial, rows, total;  // offsets in bytes
};

GLZ_INLINE Workspace make_workspace(const ConvGeometry& g, const Plan& plan,
                                    const Blocking& blocking) {
  Workspace w = {};
  w.zeros = w.stage + aligned(blocking.stage_rows * staged_row_bytes(g, plan) + 64);
  w.partial = w.zeros + (plan.source == Source::kDirect ? aligned(4 * plan.words) : 0);
  w.rows = w.partial + blocking.rows * Kernel::kVecs * static_cast<int64_t>(sizeof(Kernel::Acc));
  w.total = w.rows + aligned(blocking.rows * static_cast<int64_t>(sizeof(Row)));
  return w;
}

size_t workspace_bytes(const ConvGeometry& g) {
  const Plan plan = make_plan(g);
  return static_cast<size_t>(make_workspace(g, plan, make_blocking(g, plan)).total);
}

// Rows [begin, end) of a source that holds whole images.
void locate_image_rows(const ConvGeometry& g, const View& view, bool staged, int64_t begin,
                       int64_t end, Row* rows) {
  int64_t ow = begin % g.ow, oh = begin / g.ow % g.oh, image = begin / g.ow / g.oh;
  const int64_t top = staged ? 0 : g.pad_top, left = staged ? 0 : g.pad_left;
  const int64_t reach_h = (g.kh - 1) * g.dh, reach_w = (g.kw - 1) * g.dw;
  for (int64_t r = begin; r < end; ++r, ++rows) {
    const int64_t ih = oh * g.sh - top, iw = ow * g.sw - left;
    const int64_t row = image * view.image_rows + ih - view.first_row;
    rows->first_tap = view.base + (row * view.row_pitch + iw * view.pixel_pitch);
    rows->ih = static_cast<int32_t>(ih);
    rows->iw = static_cast<int32_t>(iw);
    rows->inside = staged || (ih >= 0 && iw >= 0 && ih + reach_h < g.h && iw + reach_w < g.w);
    if (++ow < g.ow) continue;
    ow = 0;
    if (++oh < g.oh) continue;
    oh = 0;
    ++image;
  }
}

// Fills `rows`, staging the input first if the plan says so. Sets the job's tap steps.
void locate_block(const ConvGeometry& g, const Input* input, int64_t begin, int64_t end,
                  char* stage, Job* job, Row* rows) {
  const Plan& plan = job->plan;
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
  job->row_step = g.dh * view.row_pitch;
  job->column_step = g.dw * view.pixel_pitch;
  locate_image_rows(g, view, plan.source != Source::kDirect, begin, end, rows);
}

// A slice of depth over all rows of a block, in tiles of nearly equal height.
void run_slice(const Job& job, const Slice& slice, const Row* rows, int64_t begin, int64_t end) {
  const int64_t vecs = parts(slice.channels, Simd::kLanes), count = end - begin;
  const int64_t tiles = parts(count, Kernel::kRows), height = count / tiles, taller = count % tiles;
  const Tile high = choose_tile<Kernel::kRows, Kernel::kVecs>(height + 1, vecs);
  const Tile low = choose_tile<Kernel::kRows, Kernel::kVecs>(height, vecs);
  int64_t at = 0;
  for (int64_t t = 0; t < tiles; ++t) {
    (t < taller ? high : low)(job, slice, rows + at, begin + at, at);
    at += height + (t < taller);
  }
}

// One panel: its depth in slices that stay in the L2 cache while the rows of the block pass by.
void run_panel(const Job& job, Slice slice, const Row* rows, int64_t begin, int64_t end) {
  const Plan& plan = job.plan;
  const int64_t word_bytes = parts(slice.channels, Simd::kLanes) * Kernel::kVecBytes;
  const int64_t row_words = plan.runs_w * plan.words;
  const int64_t limit = most(64, cache_sizes().l2 / 2 / word_bytes);
  const bool whole = end - begin <= 2 * Kernel::kRows || plan.depth() <= limit;
  const int64_t row_parts = whole ? 1 : parts(plan.runs_h, most(1, limit / row_words));
  const int64_t word_parts = whole ? 1 : parts(row_words, limit);
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
             args.epilogue,
             0,
             0,
             workspace + at.zeros,
             reinterpret_cast<Kernel::Acc*>(workspace + at.partial)};
  if (job.epilogue.output_type == ElementType::kU8) {
    // Two clamps in a row are one: the activation's, then the code's.
    Epilogue& e = job.epilogue;
    e.lo = e.lo < -127.0f ? -127.0f : (e.lo > 127.0f ? 127.0f : e.lo);
    e.hi = e.hi < -127.0f ? -127.0f : (e.hi > 127.0f ? 127.0f : e.hi);
  }
  if (plan.source == Source::kDirect)
    memset(workspace + at.zeros, Kernel::kPadByte, 4 * plan.words);
  const int64_t full_panel = panel_bytes(plan, Kernel::kVecs);
  for (int64_t begin = row_begin, end; begin < row_end; begin = end) {
    end = least(row_end, begin + blocking.rows);
    if (plan.source == Source::kStagedImages)
      end = least(row_end, begin / g.ow * g.ow + blocking.rows);
    locate_block(g, args.input, begin, end, workspace + at.stage, &job, rows);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const char* packed = static_cast<const char*>(args.packed) + panel * full_panel;
      Slice slice = {};
      slice.start = packed;
      slice.channel = panel * kPanel;
      slice.channels = least(kPanel, g.out_channels - slice.channel);
      slice.weights = packed + (Kernel::kCompensated ? 4 * panel_vecs(g, panel) * Simd::kLanes : 0);
      run_panel(job, slice, rows, begin, end);
    }
  }
}
