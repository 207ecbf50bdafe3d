// Sparse weights in memory, the same on every ISA: words of 32 bits, each four
// int8 weights of consecutive input channels or one float32 weight, and where
// they belong. Everything is static: see epilogue_scalar.h.
//
// The depth, kh * kw * words_of(channels) words, is cut into slices short
// enough that the inputs of many pixels stay in the L1 cache. A slice has, for
// each output channel, its words in ascending order:
//
//   SparseHeader   start: int32[out]   begin: int32[slices * out + 1]   words:
//   u32[]   index: u16[]
//
// begin counts words, slice by slice, channel by channel; index is kIndexUnit
// times a word's place in its slice, so that vectors address a tile without
// arithmetic. Four indices may be read at once, up to kIndexSlack past the end.
#pragma once

#include <cstdint>
#include <cstring>

#include "../conv_s8/contract.h"
#include "../layout.h"

namespace glz {

// At most; a tile of 128 pixels is then 40 KB.
constexpr int64_t kSliceWords = 80;
// A channel's words in a slice are an even number: the last may be a zero that belongs to this
// place, where the inputs are zero too. Loops over pairs mispredict less often.
constexpr int64_t kPadPlace = kSliceWords + 3;
constexpr int64_t kChunkPixels = 128;  // that are computed together
constexpr int64_t kIndexUnit = 64;
constexpr int64_t kIndexSlack = 4 * sizeof(uint16_t);  // bytes

struct SparseHeader {
  int64_t words, reserved[7];
};

// Input channels in a word.
template <typename Weight>
constexpr int64_t kPerWord = 4 / static_cast<int64_t>(sizeof(Weight));

struct SparseDepth {
  int64_t tap_words, words, slices;
  int64_t begin(int64_t slice) const { return words * slice / slices; }
};

template <typename Weight>
static inline SparseDepth sparse_depth(const ConvGeometry& g) {
  const int64_t per_tap = (g.channels + kPerWord<Weight> - 1) / kPerWord<Weight>;
  const int64_t words = per_tap * g.kh * g.kw;
  return {per_tap, words, (words + kSliceWords - 1) / kSliceWords};
}

// The arrays of packed weights.
template <typename Byte, typename Start, typename Word, typename Index>
struct SparseArrays {
  Start* start;  // of the accumulators
  Start* begin;
  Word* words;
  Index* index;

  SparseArrays(Byte* packed, int64_t out, int64_t slices, int64_t count) {
    start = reinterpret_cast<Start*>(packed + sizeof(SparseHeader));
    begin = start + out;
    words = reinterpret_cast<Word*>(begin + slices * out + 1);
    index = reinterpret_cast<Index*>(words + count);
  }
};
using SparseView = SparseArrays<const char, const int32_t, const uint32_t, const uint16_t>;
using SparseTarget = SparseArrays<char, int32_t, uint32_t, uint16_t>;

static inline SparseView sparse_view(const void* packed, int64_t out, int64_t slices) {
  return SparseView(static_cast<const char*>(packed), out, slices,
                    static_cast<const SparseHeader*>(packed)->words);
}

// The word at place `at` of one output channel's depth; zero: absent.
template <typename Weight>
static inline uint32_t sparse_word(const ConvGeometry& g, const SparseDepth& depth,
                                   const Weight* channel, int64_t at) {
  const int64_t tap = at / depth.tap_words, first = at % depth.tap_words * kPerWord<Weight>;
  const int64_t rest = g.channels - first;
  const Weight* from = channel + tap * g.channels + first;
  uint32_t word = 0;
  memcpy(&word, from, sizeof(Weight) * (rest < kPerWord<Weight> ? rest : kPerWord<Weight>));
  if (sizeof(Weight) == 4 && word == 0x80000000u) return 0;  // -0.0
  return word;
}

// Words that have a weight other than zero.
template <typename Weight>
static inline int64_t sparse_words(const ConvGeometry& g, const Weight* weights) {
  const SparseDepth depth = sparse_depth<Weight>(g);
  int64_t count = 0;
  for (int64_t o = 0; o < g.out_channels; ++o, weights += g.kh * g.kw * g.channels) {
    for (int64_t at = 0; at < depth.words; ++at) count += sparse_word(g, depth, weights, at) != 0;
  }
  return count;
}

// Those that are stored.
template <typename Weight>
static inline int64_t sparse_stored_words(const ConvGeometry& g, const Weight* weights) {
  const SparseDepth depth = sparse_depth<Weight>(g);
  int64_t stored = 0;
  for (int64_t o = 0; o < g.out_channels; ++o, weights += g.kh * g.kw * g.channels) {
    for (int64_t slice = 0; slice < depth.slices; ++slice) {
      int64_t count = 0;
      for (int64_t at = depth.begin(slice); at < depth.begin(slice + 1); ++at) {
        count += sparse_word(g, depth, weights, at) != 0;
      }
      stored += count + count % 2;
    }
  }
  return stored;
}

template <typename Weight>
static inline size_t sparse_packed_bytes(const ConvGeometry& g, const Weight* weights) {
  return sizeof(SparseHeader) +
         (g.out_channels * (sparse_depth<Weight>(g).slices + 1) + 1) * sizeof(int32_t) +
         sparse_stored_words(g, weights) * (sizeof(uint32_t) + sizeof(uint16_t)) + kIndexSlack;
}

// `bytes`: what sparse_packed_bytes() said.
template <typename Weight>
static inline void sparse_pack(const ConvGeometry& g, const Weight* weights, void* packed,
                               size_t bytes) {
  const SparseDepth depth = sparse_depth<Weight>(g);
  const int64_t size = g.kh * g.kw * g.channels, out = g.out_channels;
  const size_t fixed =
      sizeof(SparseHeader) + (out * (depth.slices + 1) + 1) * sizeof(int32_t) + kIndexSlack;
  SparseHeader header = {};
  header.words = static_cast<int64_t>((bytes - fixed) / (sizeof(uint32_t) + sizeof(uint16_t)));
  memcpy(packed, &header, sizeof header);
  const SparseTarget to(static_cast<char*>(packed), out, depth.slices, header.words);
  int32_t count = 0;
  for (int64_t slice = 0; slice < depth.slices; ++slice) {
    for (int64_t o = 0; o < out; ++o) {
      to.begin[slice * out + o] = count;
      for (int64_t at = depth.begin(slice); at < depth.begin(slice + 1); ++at) {
        const uint32_t word = sparse_word(g, depth, weights + o * size, at);
        if (word == 0) continue;
        to.words[count] = word;
        to.index[count++] = static_cast<uint16_t>((at - depth.begin(slice)) * kIndexUnit);
      }
      if ((count - to.begin[slice * out + o]) % 2 != 0) {
        to.words[count] = 0;
        to.index[count++] = static_cast<uint16_t>(kPadPlace * kIndexUnit);
      }
    }
  }
  to.begin[depth.slices * out] = count;
  memset(to.index + count, 0, kIndexSlack);
  for (int64_t o = 0; o < out; ++o) {
    uint32_t sum = 0;
    if (sizeof(Weight) == 1) {
      for (int64_t k = 0; k < size; ++k)
        sum += static_cast<uint32_t>(int32_t(weights[o * size + k]));
    }
    to.start[o] = static_cast<int32_t>(0u - static_cast<uint32_t>(kBias) * sum);
  }
}

}  // namespace glz
