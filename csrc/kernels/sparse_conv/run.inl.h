// Sparse convolution with vectors over pixels. Included inside the anonymous namespace of an ISA
// file after Vector, finish.inl.h, Pixels and a struct Kernel:
//
//   Args, Weight, Acc, Word, start, broadcast, load, mul_add   as their names say
//   kPadWord                                                   a word of input outside the image
//
// A chunk of up to 8 vectors of output pixels is computed at a time. Each slice of its depth is
// staged as a tile [word][pixel] in the L1 cache, where every output channel finds its words.

#include "job.inl.h"
//
#include "finish_planes.inl.h"
//
#include "finish_pixels.inl.h"
#include "multiply.inl.h"
#include "stage_pixels.inl.h"
#include "stage_planes.inl.h"

// Slices that share a tile, side by side, when a chunk has few vectors.
template <int V>
constexpr int kFold = 4 * V <= kMaxVecs   ? 4
                      : 2 * V <= kMaxVecs ? 2
                                          : 1;

// Places [begin, end) of the depth, for all pixels of the chunk.
template <int V>
void stage(const Job& job, const Chunk& chunk, int64_t begin, int64_t end, char* to) {
  for (int64_t at = begin; at < end;) {
    const int64_t tap = at / job.depth.tap_words, first = at % job.depth.tap_words;
    const int64_t count = least(end - at, job.depth.tap_words - first);
    if (job.pitch.input != 0) {
      stage_planes<V>(job, chunk, tap, first, count, to);
    } else {
      stage_pixels<V>(job, chunk, tap, first, count, to);
    }
    at += count;
    to += count * kPitch;
  }
}

// Output channels [c, end) of the slices that are staged; the last slice's sums go to job.sums.
template <int V>
void multiply_channels(const Job& job, int64_t slice, int64_t slices, int64_t c, int64_t end) {
  const int64_t out = job.g.out_channels;
  const bool last = slice + slices == job.depth.slices;
  char* sums = job.sums;
  for (; c < end; ++c, sums += kPitch) {
    char* partial = job.partial + c * kPitch;
    Kernel::Acc acc[V];
    unroll<V>([&](auto v) GLZ_UNROLLED {
      acc[v.value] = slice == 0 ? Kernel::start(job.weights.start[c])
                                : Kernel::from_bits(Pixels::load(partial + v.value * kBytes));
    });
    const int32_t* begin = job.weights.begin + slice * out + c;
    for (int64_t k = 0; k < slices; ++k, begin += out) {
      multiply<V>(job.weights.words + begin[0], job.weights.index + begin[0], begin[1] - begin[0],
                  job.tile + k * V * kBytes, acc);
      if (kFold<V> == 1) break;
    }
    char* to = last ? sums : partial;
    unroll<V>([&](auto v) GLZ_UNROLLED { Pixels::store(to + v.value * kBytes, acc[v.value]); });
  }
}

// The output channels [from, to) when the last slices are staged.
template <int V>
void multiply_and_finish(const Job& job, const Chunk& chunk, int64_t slice, int64_t slices,
                         int64_t from, int64_t to) {
  const int64_t step = job.pitch.output != 0 ? kQuad : kPanel;
  for (int64_t c = from; c < to; c += step) {
    const int64_t end = least(to, c + step);
    multiply_channels<V>(job, slice, slices, c, end);
    if (job.pitch.output == 0) {
      finish_pixels(job, chunk, c / kPanel);
    } else {
      finish_planes(job, chunk, c, end - c);
    }
  }
}

template <int V>
void run_chunk(const Job& job, Chunk* chunk) {
  if (job.pitch.input == 0) {
    locate(job, V, chunk);
  } else if (!job.pointwise) {
    find_runs(job, V, chunk);
  }
  const int64_t from = job.panel_begin * kPanel;
  const int64_t to = least(job.g.out_channels, job.panel_end * kPanel);
  for (int64_t slice = 0; slice < job.depth.slices; slice += kFold<V>) {
    const int64_t slices = least(kFold<V>, job.depth.slices - slice);
    for (int64_t k = 0; k < slices; ++k) {
      stage<V>(job, *chunk, job.depth.begin(slice + k), job.depth.begin(slice + k + 1),
               job.tile + k * V * kBytes);
    }
    if (slice + slices < job.depth.slices) {
      multiply_channels<V>(job, slice, slices, from, to);
    } else {
      multiply_and_finish<V>(job, *chunk, slice, slices, from, to);
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
             a.pitch,
             depth,
             sparse_view(a.packed, g.out_channels, depth.slices),
             reinterpret_cast<const char*>(a.input),
             workspace + at.pads,
             workspace + at.tile,
             workspace + at.sums,
             workspace + at.lines,
             workspace + at.added,
             workspace + at.partial,
             panel_begin,
             panel_end,
             g.stride_c * static_cast<int64_t>(sizeof(*a.input)),
             g.kh * g.kw == 1 && g.sh == 1 && g.sw == 1 && g.pad_top == 0 && g.pad_left == 0 &&
                 g.oh == g.h && g.ow == g.w,
             false,
             false};
  Epilogue& e = job.e;
  job.common = e.output_type == kSame && (e.residual == nullptr || e.residual_type == kSame) &&
               e.bias != nullptr && (Kernel::kInteger == (e.multiplier != nullptr));
  if (e.output_type == ElementType::kU8) {
    e.lo = within_codes(e.lo);
    e.hi = within_codes(e.hi);
  }
  job.tame = is_tame(e, panel_begin * kPanel, least(g.out_channels, panel_end * kPanel));
  memset(job.tile + kPadPlace * kPitch, 0, kPitch);
  for (int64_t i = 0; i < at.tile; i += 4) {
    const uint32_t pad = Kernel::kPadWord;
    memcpy(workspace + at.pads + i, &pad, sizeof pad);
  }
  return job;
}

void run(const Kernel::Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  using Function = void (*)(const Job&, Chunk*);
  constexpr Function kChunks[] = {run_chunk<1>, run_chunk<2>, run_chunk<3>, run_chunk<4>,
                                  run_chunk<5>, run_chunk<6>, run_chunk<7>, run_chunk<8>};
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
