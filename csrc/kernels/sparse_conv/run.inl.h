// Sparse convolution with vectors over pixels. Included inside the anonymous namespace of an ISA
// file after Vector, finish.inl.h, Pixels and a struct Kernel:
//
//   Args, Weight, Acc, Word, start, broadcast, load, mul_add   as their names say
//
// A chunk of up to 8 vectors of output pixels (as many as the form of the weights says) is computed
// at a time. Each slice of its depth is
// staged as a tile [word][pixel] in the L1 cache, where every output channel finds its words.

#include "constants.inl.h"
#include "job.inl.h"
//
#include "finish_planes.inl.h"
//
#include "finish_in_place.inl.h"
#include "finish_pixels.inl.h"
#include "multiply.inl.h"
#include "stage_pixels.inl.h"
#include "stage_planes.inl.h"
//
#include "one_pixel.inl.h"

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
    to += count * job.tile_pitch;
  }
}

// The output channels [first, end) of a block, whose sums are complete.
void finish_block(const Job& job, const Chunk& chunk, int64_t first, int64_t end) {
  if (job.pitch.output != 0) return finish_planes(job, chunk, first, end);
  for (int64_t c = first; c < end; c += kPanel) {
    finish_pixels(job, chunk, job.sums + (c - first) * kPitch, c / kPanel);
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
  for (int64_t slice = 0; slice < job.depth.slices; ++slice) {
    stage<V>(job, *chunk, job.depth.begin(slice), job.depth.begin(slice + 1), job.tile);
    const Ending ending = ending_of(job, slice);
    const auto multiply = multiply_blocks<V>(ending);
    for (int64_t first = from; first < to; first += kSparseBlock) {
      const int64_t end = least(to, first + kSparseBlock);
      multiply(job, *chunk, slice, first, parts(end - first, 2));
      if (ending == Ending::kSums) finish_block(job, *chunk, first, end);
    }
  }
}

size_t workspace_bytes(const ConvGeometry& g) {
  return static_cast<size_t>(make_workspace(g).total);
}

// Blocks of channels [begin, end).
Job make_job(const Kernel::Args& a, int64_t begin, int64_t end) {
  const auto usual = [](ElementType type) {
    return Kernel::kInteger ? holds_codes(type) : type == ElementType::kF32;
  };
  const ConvGeometry& g = a.geometry;
  const Workspace at = make_workspace(g);
  char* workspace = static_cast<char*>(a.workspace);
  const SparseForm form = {sparse_header(a.packed).form};
  const SparseDepth depth = sparse_depth<Kernel::Weight>(g, form);
  constexpr int64_t kPanels = kSparseBlock / kPanel;
  const int64_t panel_begin = begin * kPanels;
  const int64_t panel_end = least(end * kPanels, parts(g.out_channels, kPanel));
  Epilogue e = a.epilogue;
  clamp_to_codes(&e);
  Job job = {g,
             e,
             a.pitch,
             depth,
             sparse_view(a.packed, g, depth),
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
             form.one_pixel() ? 4 : form.vectors * kBytes,
             g.kh * g.kw == 1 && g.sh == 1 && g.sw == 1 && g.pad_top == 0 && g.pad_left == 0 &&
                 g.oh == g.h && g.ow == g.w,
             false,
             false,
             4 * a.pitch.output * parts(g.out_channels, kPerWord<Kernel::Weight>) > kNearBytes,
             Constants(e)};
  job.common = usual(e.output_type) && (e.residual == nullptr || usual(e.residual_type)) &&
               e.bias != nullptr && (Kernel::kInteger == (e.multiplier != nullptr));
  job.tame = is_tame(e, panel_begin * kPanel, least(g.out_channels, panel_end * kPanel));
  memset(job.tile + depth.pad_place() * job.tile_pitch, 0, static_cast<size_t>(job.tile_pitch));
  for (int64_t i = 0; i < at.tile; i += 4) {
    const uint32_t pad = pad_word(g);
    memcpy(workspace + at.pads + i, &pad, sizeof pad);
  }
  return job;
}

void run(const Kernel::Args& a, int64_t row_begin, int64_t row_end, int64_t block_begin,
         int64_t block_end) {
  using Function = void (*)(const Job&, Chunk*);
  constexpr Function kChunks[] = {run_chunk<1>, run_chunk<2>, run_chunk<3>, run_chunk<4>,
                                  run_chunk<5>, run_chunk<6>, run_chunk<7>, run_chunk<8>};
  if (row_end <= row_begin || block_end <= block_begin) return;
  const Job job = make_job(a, block_begin, block_end);
  if (sparse_header(a.packed).form == 1) return run_pixels(job, row_begin, row_end);
  const int64_t vecs = parts(row_end - row_begin, kLanes);
  const int64_t chunks = parts(vecs * kBytes, job.tile_pitch);
  for (int64_t i = 0; i < chunks; ++i) {
    const int64_t first = vecs * i / chunks, last = vecs * (i + 1) / chunks;
    Chunk chunk;
    chunk.row = row_begin + first * kLanes;
    chunk.rows = least(last * kLanes + row_begin, row_end) - chunk.row;
    kChunks[last - first - 1](job, &chunk);
  }
}
