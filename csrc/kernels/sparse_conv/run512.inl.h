// Sparse convolution on 16 pixels a vector. Included inside the anonymous
// namespace of an ISA file after Vector, finish.inl.h and a struct Kernel:
//
//   Args, Weight, Acc, start, load, mul_add   as their names say
//   kChannels      output channels that make four 32-bit words of output: 16
//   codes, 4 floats kPadWord       a word of input outside the image kInteger
//   finish_word    the epilogue of one such word of 16 pixels
//
// A chunk of up to 6 vectors of output pixels is computed at a time. Each slice
// of its depth is staged as [word][pixel], 36 KB at most, so that one present
// word of weights is one broadcast, multiplied into all pixels from the L1
// cache, and one skipped word costs nothing.

constexpr int kMaxVecs = kChunkVecs;
constexpr int64_t kPanel = 16;  // output channels
constexpr int64_t kLanes = 16;  // pixels a vector
constexpr int64_t kVecBytes = 64;

GLZ_INLINE int64_t aligned(int64_t bytes) { return parts(bytes, 64) * 64; }

// Full panels are finished by the cache line: stores of a few bytes to rows
// that lie a power of two apart would throw each other out of the cache.
constexpr int64_t kLineBytes = 64;
constexpr int64_t kPanelBytes = kPanel * (Kernel::kInteger ? 1 : 4);
constexpr int64_t kLinePanels = kLineBytes / kPanelBytes;

struct Workspace {
  int64_t pads, stage, sums, lines, added, partial, total;  // offsets in bytes
};

Workspace make_workspace(const ConvGeometry& g) {
  constexpr int64_t kRow = kMaxVecs * kVecBytes;
  const SparseDepth depth = sparse_depth<Kernel::Weight>(g);
  Workspace w;
  w.pads = 0;
  w.stage = aligned(4 * depth.tap_words + 64);
  w.sums = w.stage + (kSliceWords + 4) * kRow;
  w.lines = w.sums + kPanel * kRow;
  w.added = w.lines + kMaxVecs * kLanes * kLineBytes;
  w.partial = w.added + kMaxVecs * kLanes * kLineBytes;
  w.total = w.partial + (depth.slices > 1 ? g.out_channels * kRow : 0);
  return w;
}

struct Chunk {
  int64_t row, rows;  // output pixels
  // Of each pixel's first tap: row and column in the image, and bytes from the
  // input's start.
  alignas(64) int32_t ih[kMaxVecs * kLanes], iw[kMaxVecs * kLanes];
  alignas(64) int64_t place[kMaxVecs * kLanes];
};

struct Job {
  const ConvGeometry& g;
  Epilogue e;
  SparseDepth depth;
  SparseView weights;
  const char* input;
  const char* pads;
  char *stage, *sums, *lines, *added, *partial;
  int64_t panel_begin, panel_end;
  int64_t pixel_bytes;
  bool common;  // what finish_panel computes
};

void locate(const Job& job, int64_t vecs, Chunk* chunk) {
  const ConvGeometry& g = job.g;
  int64_t ow = chunk->row % g.ow, oh = chunk->row / g.ow % g.oh, n = chunk->row / g.ow / g.oh;
  for (int64_t p = 0; p < vecs * kLanes; ++p) {
    if (p >= chunk->rows) {  // outside every image
      chunk->ih[p] = chunk->iw[p] = -(1 << 30);
      chunk->place[p] = 0;
      continue;
    }
    const int64_t ih = oh * g.sh - g.pad_top, iw = ow * g.sw - g.pad_left;
    chunk->ih[p] = static_cast<int32_t>(ih);
    chunk->iw[p] = static_cast<int32_t>(iw);
    chunk->place[p] = ((n * g.h + ih) * g.w + iw) * job.pixel_bytes;
    if (++ow == g.ow) {
      ow = 0;
      if (++oh == g.oh) {
        oh = 0;
        ++n;
      }
    }
  }
}

// Where each pixel of the chunk has its words under a tap.
void locate_tap(const Job& job, const Chunk& chunk, int64_t vecs, int64_t tap, int64_t* place) {
  const ConvGeometry& g = job.g;
  const int64_t down = tap / g.kw * g.dh, right = tap % g.kw * g.dw;
  const int64_t bytes = (down * g.w + right) * job.pixel_bytes;
  const int64_t outside = job.pads - job.input;
  const uint32_t h = static_cast<uint32_t>(g.h), w = static_cast<uint32_t>(g.w);
  for (int64_t p = 0; p < vecs * kLanes; ++p) {
    const bool inside = (static_cast<uint32_t>(chunk.ih[p] + static_cast<int32_t>(down)) < h) &
                        (static_cast<uint32_t>(chunk.iw[p] + static_cast<int32_t>(right)) < w);
    place[p] = inside ? chunk.place[p] + bytes : outside;
  }
}

// 4 x 4 words within each 128-bit lane.
GLZ_INLINE void transpose_lanes(const __m512i (&in)[4], __m512i (&out)[4]) {
  const __m512i ab_lo = _mm512_unpacklo_epi32(in[0], in[1]);
  const __m512i ab_hi = _mm512_unpackhi_epi32(in[0], in[1]);
  const __m512i cd_lo = _mm512_unpacklo_epi32(in[2], in[3]);
  const __m512i cd_hi = _mm512_unpackhi_epi32(in[2], in[3]);
  out[0] = _mm512_unpacklo_epi64(ab_lo, cd_lo);
  out[1] = _mm512_unpackhi_epi64(ab_lo, cd_lo);
  out[2] = _mm512_unpacklo_epi64(ab_hi, cd_hi);
  out[3] = _mm512_unpackhi_epi64(ab_hi, cd_hi);
}

// out[w] has word w of 16 pixels; at(p) is where pixel p has its four words.
template <typename At>
GLZ_INLINE void load_words(const At& at, __m512i (&out)[4]) {
  __m512i rows[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const auto four = [&](int p) { return _mm_loadu_si128((const __m128i*)at(p)); };
    rows[r] = _mm512_castsi128_si512(four(r));
    rows[r] = _mm512_inserti32x4(rows[r], four(r + 4), 1);
    rows[r] = _mm512_inserti32x4(rows[r], four(r + 8), 2);
    rows[r] = _mm512_inserti32x4(rows[r], four(r + 12), 3);
  }
  transpose_lanes(rows, out);
}

// The reverse.
GLZ_INLINE void store_words(const __m512i (&words)[4], char* to, int64_t stride) {
  __m512i rows[4];
  transpose_lanes(words, rows);
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const auto place = [&](int p) { return (__m128i*)(to + p * stride); };
    _mm_store_si128(place(r), _mm512_castsi512_si128(rows[r]));
    _mm_store_si128(place(r + 4), _mm512_extracti32x4_epi32(rows[r], 1));
    _mm_store_si128(place(r + 8), _mm512_extracti32x4_epi32(rows[r], 2));
    _mm_store_si128(place(r + 12), _mm512_extracti32x4_epi32(rows[r], 3));
  }
}

// Places [begin, end) of the depth, for all pixels of the chunk.
template <int V>
void stage(const Job& job, const Chunk& chunk, int64_t begin, int64_t end) {
  alignas(64) int64_t place[V * kLanes];
  char* to = job.stage;
  for (int64_t at = begin; at < end;) {
    const int64_t tap = at / job.depth.tap_words, first = at % job.depth.tap_words;
    const int64_t count = least(end - at, job.depth.tap_words - first);
    locate_tap(job, chunk, V, tap, place);
    for (int64_t v = 0; v < V; ++v) {
      const int64_t* p = place + v * kLanes;
      char* column = to + v * kVecBytes;
      for (int64_t word = 0; word < count; word += 4, column += 4 * V * kVecBytes) {
        __m512i four[4];
        const char* from = job.input + 4 * (first + word);
        load_words([=](int i) { return from + p[i]; }, four);
        // What is past the tap's end is written over by the next tap, or is
        // slack.
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) _mm512_store_si512(column + i * V * kVecBytes, four[i]);
      }
    }
    at += count;
    to += count * V * kVecBytes;
  }
}

// One output channel: its words in this slice. Few vectors get two sets of
// sums, for the latency.
template <int V>
GLZ_INLINE void multiply(const uint32_t* words, const uint16_t* index, int64_t count,
                         const char* stage, Kernel::Acc (&acc)[V]) {
  constexpr int kSets = V <= 4 ? 2 : 1;
  Kernel::Acc sums[kSets][V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    sums[0][v] = acc[v];
    if (kSets > 1) sums[kSets - 1][v] = Kernel::zero();
  }
  const auto step = [&](int64_t i, int set) __attribute__((always_inline)) {
    const char* x = stage + static_cast<int64_t>(index[i]) * (V * kVecBytes);
    Kernel::Acc w = Kernel::broadcast(words[i]);
    asm("" : "+v"(w));  // or else it is broadcast from memory V times
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      sums[set][v] = Kernel::mul_add(sums[set][v], Kernel::load(x + v * kVecBytes), w);
    }
  };
  int64_t i = 0;
  for (; i + kSets <= count; i += kSets) {
    step(i, 0);
    if (kSets > 1) step(i + 1, kSets - 1);
  }
  if (kSets > 1 && i < count) step(i, 0);
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    acc[v] = kSets > 1 ? Kernel::add(sums[0][v], sums[kSets - 1][v]) : sums[0][v];
  }
}

// Every case that there is: the sums of one pixel, gathered.
template <int V>
__attribute__((noinline)) void finish_any(const Job& job, const Chunk& chunk, int64_t panel,
                                          int64_t count) {
  const __m512i lanes =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(V * kVecBytes));
  const __mmask16 valid = Vector::first(count);
  for (int64_t p = 0; p < chunk.rows; ++p) {
    const __m512i sums =
        _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), valid, lanes, job.sums + 4 * p, 1);
    const Kernel::Acc acc[1] = {Kernel::from_bits(sums)};
    finish_row<Kernel::kInteger>(job.e, acc, chunk.row + p, panel * kPanel, count);
  }
}

// The epilogue's constants, in registers: stores through pointers cannot change
// a local copy.
struct Constants {
  const float *multiplier, *bias;
  __m512 lo, hi, slope, factor, offset;  // offset: -128 * factor
  bool leaky;

  explicit Constants(const Epilogue& e)
      : multiplier(e.multiplier),
        bias(e.bias),
        lo(_mm512_set1_ps(e.lo)),
        hi(_mm512_set1_ps(e.hi)),
        slope(_mm512_set1_ps(e.slope)),
        factor(_mm512_set1_ps(e.residual_multiplier)),
        offset(_mm512_set1_ps(-128.0f * e.residual_multiplier)),
        leaky(e.leaky) {}

  // One output channel of 16 pixels, before the residual.
  GLZ_INLINE __m512 scaled(Kernel::Acc acc, int64_t channel) const {
    __m512 y = Vector::to_float(acc);
    if (Kernel::kInteger) y = _mm512_mul_ps(y, _mm512_set1_ps(multiplier[channel]));
    return _mm512_add_ps(y, _mm512_set1_ps(bias[channel]));
  }
  GLZ_INLINE __m512 activated(__m512 y) const {
    if (leaky) y = Vector::leaky(y, slope);
    return Vector::clamp(y, lo, hi);
  }
};

// The first `bytes` of a line of each pixel.
void copy_lines(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t pixels,
                int64_t bytes) {
  const __mmask64 valid = ~uint64_t{0} >> (kLineBytes - bytes);
  for (int64_t p = 0; p < pixels; ++p, from += from_stride, to += to_stride) {
    _mm512_mask_storeu_epi8(to, valid, _mm512_maskz_loadu_epi8(valid, from));
  }
}

// An activation between layers: a full panel, to its place `at` in the lines.
template <int V, bool kResidual>
void finish_panel(const Job& job, int64_t panel, int64_t at) {
  const Constants constants(job.e);
  for (int64_t v = 0; v < V; ++v) {
    const char* sums = job.sums + v * kVecBytes;
    const int64_t place = v * kLanes * kLineBytes + at;
    char* out = job.lines + place;
    const char* added = job.added + place;
    for (int64_t first = 0; first < kPanel; first += Kernel::kChannels) {
      __m512i residual[4], words[4];
      if (kResidual) load_words([=](int p) { return added + p * kLineBytes; }, residual);
#pragma GCC unroll 4
      for (int w = 0; w < 4; ++w) {
        words[w] = Kernel::template finish_word<kResidual>(
            constants, sums, V * kVecBytes, panel * kPanel + first + w * (Kernel::kChannels / 4),
            residual[w]);
        sums += Kernel::kChannels / 4 * V * kVecBytes;
      }
      store_words(words, out, kLineBytes);
      out += 16;
      added += 16;
    }
  }
}

template <int V>
void finish(const Job& job, const Chunk& chunk, int64_t panel) {
  const Epilogue& e = job.e;
  const int64_t count = least(kPanel, job.g.out_channels - panel * kPanel);
  if (!job.common || count != kPanel) return finish_any<V>(job, chunk, panel, count);
  constexpr int64_t kBytes = Kernel::kInteger ? 1 : 4;
  const int64_t in_line = (panel - job.panel_begin) % kLinePanels;
  const int64_t full = least(job.panel_end, job.g.out_channels / kPanel);
  if (e.residual != nullptr) {
    if (in_line == 0) {
      const int64_t stride = e.residual_stride * kBytes;
      copy_lines(static_cast<const char*>(e.residual) + chunk.row * stride + panel * kPanelBytes,
                 stride, job.added, kLineBytes, chunk.rows,
                 least(kLinePanels, full - panel) * kPanelBytes);
    }
    finish_panel<V, true>(job, panel, in_line * kPanelBytes);
  } else {
    finish_panel<V, false>(job, panel, in_line * kPanelBytes);
  }
  if (in_line + 1 == kLinePanels || panel + 1 == full) {
    const int64_t stride = e.output_stride * kBytes;
    copy_lines(job.lines, kLineBytes,
               static_cast<char*>(e.output) + chunk.row * stride + (panel - in_line) * kPanelBytes,
               stride, chunk.rows, (in_line + 1) * kPanelBytes);
  }
}

template <int V>
void run_chunk(const Job& job, Chunk* chunk) {
  constexpr int64_t kRow = V * kVecBytes;
  const int64_t out = job.g.out_channels, slices = job.depth.slices;
  locate(job, V, chunk);
  for (int64_t slice = 0; slice < slices; ++slice) {
    const bool last = slice + 1 == slices;
    stage<V>(job, *chunk, job.depth.begin(slice), job.depth.begin(slice + 1));
    const int32_t* begin = job.weights.begin + slice * out;
    for (int64_t panel = job.panel_begin; panel < job.panel_end; ++panel) {
      const int64_t end = least(out, (panel + 1) * kPanel);
      for (int64_t c = panel * kPanel; c < end; ++c) {
        char* partial = job.partial + c * kRow;
        Kernel::Acc acc[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) {
          acc[v] = slice == 0 ? Kernel::start(job.weights.start[c])
                              : Kernel::load_acc(partial + v * kVecBytes);
        }
        multiply<V>(job.weights.words + begin[c], job.weights.index + begin[c],
                    begin[c + 1] - begin[c], job.stage, acc);
        char* to = last ? job.sums + (c - panel * kPanel) * kRow : partial;
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) Kernel::store_acc(to + v * kVecBytes, acc[v]);
      }
      if (last) finish<V>(job, *chunk, panel);
    }
  }
}

size_t packed_bytes(const ConvGeometry& g, const Kernel::Weight* weights) {
  return sparse_packed_bytes(g, weights);
}
void pack(const ConvGeometry& g, const Kernel::Weight* weights, void* packed) {
  sparse_pack(g, weights, packed, sparse_packed_bytes(g, weights));
}
size_t workspace_bytes(const ConvGeometry& g) {
  return static_cast<size_t>(make_workspace(g).total);
}

Job make_job(const Kernel::Args& a, int64_t panel_begin, int64_t panel_end) {
  constexpr ElementType kSame = Kernel::kInteger ? ElementType::kU8 : ElementType::kF32;
  const ConvGeometry& g = a.geometry;
  const Workspace at = make_workspace(g);
  char* workspace = static_cast<char*>(a.workspace);
  const SparseDepth depth = sparse_depth<Kernel::Weight>(g);
  Job job = {g,
             a.epilogue,
             depth,
             sparse_view(a.packed, g.out_channels, depth.slices),
             reinterpret_cast<const char*>(a.input),
             workspace + at.pads,
             workspace + at.stage,
             workspace + at.sums,
             workspace + at.lines,
             workspace + at.added,
             workspace + at.partial,
             panel_begin,
             panel_end,
             g.stride_c * static_cast<int64_t>(sizeof(*a.input)),
             false};
  Epilogue& e = job.e;
  job.common = e.output_type == kSame && (e.residual == nullptr || e.residual_type == kSame) &&
               e.bias != nullptr && (Kernel::kInteger == (e.multiplier != nullptr));
  if (e.output_type == ElementType::kU8) {
    e.lo = within_codes(e.lo);
    e.hi = within_codes(e.hi);
  }
  for (int64_t i = 0; i < at.stage; i += 4) {
    const uint32_t pad = Kernel::kPadWord;
    memcpy(workspace + at.pads + i, &pad, sizeof pad);
  }
  return job;
}

void run(const Kernel::Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  using Function = void (*)(const Job&, Chunk*);
  constexpr Function kChunks[] = {run_chunk<1>, run_chunk<2>, run_chunk<3>,
                                  run_chunk<4>, run_chunk<5>, run_chunk<6>};
  if (row_end <= row_begin || panel_end <= panel_begin) return;
  const Job job = make_job(a, panel_begin, panel_end);
  const int64_t vecs = parts(row_end - row_begin, kLanes), chunks = parts(vecs, kMaxVecs);
  for (int64_t i = 0; i < chunks; ++i) {
    const int64_t first = vecs * i / chunks, last = vecs * (i + 1) / chunks;
    Chunk chunk;
    chunk.row = row_begin + first * kLanes;
    chunk.rows = least(last * kLanes + row_begin, row_end) - chunk.row;
    kChunks[last - first - 1](job, &chunk);
  }
}
