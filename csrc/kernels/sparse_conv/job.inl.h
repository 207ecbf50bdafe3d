// What the parts of a sparse convolution share. Included after constants.inl.h.

constexpr int64_t kLanes = Pixels::kLanes;
constexpr int64_t kBytes = Pixels::kBytes;  // of a vector
constexpr int kMaxVecs = kMostVectors;
constexpr int64_t kPitch = kMaxVecs * kBytes;  // of sums
constexpr int64_t kPanel = 16;                 // output channels
constexpr int64_t kQuad = 4;                   // output channels that share a word of codes
constexpr int64_t kTileRows = kPixelAlign;     // work is cut at multiples of these pixels
static_assert(kSparseBlock % kPanel == 0, "");

// Full panels in pixels x channels are finished by the cache line: stores of a few bytes to rows
// that lie a power of two apart would throw each other out of the cache.
constexpr int64_t kLineBytes = 64;
constexpr int64_t kPanelBytes = kPanel * (Kernel::kInteger ? 1 : 4);
constexpr int64_t kLinePanels = kLineBytes / kPanelBytes;

// A word of input outside the image.
GLZ_INLINE uint32_t pad_word(const ConvGeometry& g) {
  return Kernel::kInteger ? 0x01010101u * static_cast<uint32_t>(g.zero) : 0;
}

GLZ_INLINE int64_t aligned(int64_t bytes) { return parts(bytes, 64) * 64; }

struct Workspace {
  int64_t pads, tile, sums, lines, added, partial, total;  // offsets in bytes
};

// Of a tile in any form but that of one pixel: the widest is the largest.
constexpr int64_t kTileBytes =
    (SparseForm{kMostVectors}.slice_words<Kernel::Weight>() + 4) * kMostVectors * kBytes;

Workspace make_workspace(const ConvGeometry& g) {
  const SparseDepth depth = sparse_depth<Kernel::Weight>(g, {kMostVectors});
  Workspace w;
  w.pads = 0;
  w.tile = aligned(4 * depth.tap_words + 64);
  const int64_t pixel = 4 * (depth.words + 4);
  w.sums = w.tile + (g.kh * g.kw == 1 && pixel > kTileBytes ? aligned(pixel) : kTileBytes);
  w.lines = w.sums + kSparseBlock * kPitch;
  w.added = w.lines + kMaxVecs * kLanes * kLineBytes;
  w.partial = w.added + kMaxVecs * kLanes * kLineBytes;
  w.total = w.partial + (depth.slices > 1 ? 2 * sparse_pairs(g) * kPitch : 0);
  return w;
}

// Lanes [begin, end) of a vector.
struct Span {
  uint8_t begin, end;
};

// Consecutive output pixels of one row of an image, in lanes [first, first + count) of one vector:
// where lane 0 would have its first tap, in pixels from the input's start, and that tap's row; and
// of each column of taps, the lanes that are inside the image.
constexpr int kColumns = 8;
struct Run {
  int64_t place;
  int32_t ih, iw, first, count;
  Span inside[kColumns];
};

struct Chunk {
  int64_t row, rows;  // output pixels
  // Input in planes: the runs of each vector.
  Run runs[kMaxVecs * kLanes];
  int32_t begin[kMaxVecs + 1];
  // Input in pixels x channels: of each pixel's first tap, the row and column in the image, and
  // bytes from the input's start.
  alignas(64) int32_t ih[kMaxVecs * kLanes], iw[kMaxVecs * kLanes];
  alignas(64) int64_t place[kMaxVecs * kLanes];
};

// Tensors that stay in a core's own caches need not be asked for.
constexpr int64_t kNearBytes = 1 << 20;

struct Job {
  const ConvGeometry& g;
  Epilogue e;
  PlanePitches pitch;
  SparseDepth depth;
  SparseView weights;
  const char* input;
  const char* pads;
  char *tile, *sums, *lines, *added, *partial;
  int64_t panel_begin, panel_end;  // of kPanel channels
  int64_t pixel_bytes;
  int64_t tile_pitch;  // bytes between a tile's words
  bool pointwise;      // one tap, stride 1, no padding
  bool common;         // what finish_panel computes
  bool tame;           // see is_tame()
  bool far;            // output in planes that are more than kNearBytes
  Constants constants;
};
