// Part of implicit_gemm.inl.h: what follows from the geometry alone.

constexpr int64_t kMaxBlockRows = 2048;

enum class Source {
  kDirect,        // the input itself; pixels outside it read a row of zeros
  kStagedPixels,  // 1x1: the pixels that are used, one after the other
  kStagedImages,  // the images with their padding, compact, so that taps along kw join into one run
};

struct Plan {
  Source source;
  int64_t runs_h, runs_w, words;
  int64_t elems;  // staged elements in a run; the last word of a run may be part empty
  int64_t depth() const { return runs_h * runs_w * words; }
};

// Depends on nothing that pack() may not depend on: not on n, h, w, oh, ow.
GLZ_INLINE Plan make_plan(const ConvGeometry& g) {
  // Short runs cost more in addresses than in arithmetic; joined and compact they are longer.
  constexpr int64_t kShortRun = 8;
  const bool one_tap = g.kh == 1 && g.kw == 1;
  Plan plan = {Source::kDirect, g.kh, g.kw, 0, g.channels};
  if (one_tap) {
    if (Kernel::kAlwaysStage) plan.source = Source::kStagedPixels;
  } else if (Kernel::kAlwaysStage || parts(g.channels, Kernel::kWordElems) < kShortRun) {
    plan.source = Source::kStagedImages;
    if (g.dw == 1) {
      plan.runs_w = 1;
      plan.elems = g.kw * g.channels;
    }
  }
  plan.words = parts(plan.elems, Kernel::kWordElems);
  return plan;
}

// Where the pixels of a block are, in bytes.
struct View {
  const char* base;  // pixel (0, 0) of padded image row `first_row`
  int64_t image_rows, first_row, row_pitch, pixel_pitch;
};

// Staged images: rows of the padded images between the first rows of successive output rows.
GLZ_INLINE int64_t padded_rows(const ConvGeometry& g) {
  return (g.oh - 1) * g.sh + (g.kh - 1) * g.dh + 1;
}
GLZ_INLINE int64_t padded_columns(const ConvGeometry& g) {
  return (g.ow - 1) * g.sw + (g.kw - 1) * g.dw + 1;
}
GLZ_INLINE int64_t staged_pixel_bytes(const ConvGeometry& g) {
  return g.channels * static_cast<int64_t>(sizeof(typename Kernel::Staged));
}
// Ends with slack, for copies in whole vectors and for the last word of a run. The odd number of
// lines keeps rows of equal column from sharing one cache set.
GLZ_INLINE int64_t staged_row_bytes(const ConvGeometry& g, const Plan& plan) {
  const int64_t pixels = plan.source == Source::kStagedPixels ? 1 : padded_columns(g);
  return (aligned(pixels * staged_pixel_bytes(g) + 64) | 64);
}

// Output rows (pixels) computed between two visits of the same weights.
struct Blocking {
  int64_t rows;        // at most; kStagedImages: a multiple of ow
  int64_t stage_rows;  // rows of staged memory
};

GLZ_INLINE Blocking make_blocking(const ConvGeometry& g, const Plan& plan) {
  const int64_t all = g.n * g.oh * g.ow, budget = cache_sizes().l2 * 2 / 5;
  if (plan.source == Source::kDirect) {
    const int64_t fresh = g.kh == 1 && g.kw == 1 ? 1 : least(g.sh, g.kh) * least(g.sw, g.kw);
    const int64_t bytes = fresh * g.channels * static_cast<int64_t>(sizeof(typename Kernel::Input));
    return {least(all, most(8 * Kernel::kRows, least(kMaxBlockRows, budget / bytes))), 0};
  }
  const int64_t row_bytes = staged_row_bytes(g, plan);
  if (plan.source == Source::kStagedPixels) {
    const int64_t rows =
        least(all, most(4 * Kernel::kRows, least(kMaxBlockRows, budget / row_bytes)));
    return {rows, rows};
  }
  const int64_t reach = (g.kh - 1) * g.dh + 1;
  int64_t rows = most(1, (budget / row_bytes - reach) / g.sh + 1);
  rows = least(least(rows, most(1, kMaxBlockRows / g.ow)), g.n * g.oh);
  const int64_t crossings = least(g.n - 1, parts(rows, g.oh));
  return {rows * g.ow, (rows - 1) * g.sh + (crossings + 1) * reach};
}
