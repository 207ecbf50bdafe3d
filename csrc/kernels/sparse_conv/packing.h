// Sparse weights in memory, the same on every ISA: words of 32 bits, each four
// int8 weights of consecutive input channels or one float32 weight, and where
// they belong. Everything in this file is static: see epilogue_scalar.h.
//
// The depth, kh * kw * words_of(channels) words, is cut into slices short
// enough that the inputs of a chunk of pixels stay in the L1 cache: the fewer
// vectors of pixels a chunk has, the longer (SparseForm).
//
// Output channels come in blocks of kSparseBlock. Within a block each slice
// has an order of its own, by falling number of words, and pairs in that order
// have the same number of words, an even one, filled up with words of zero that
// belong to the place depth.pad_place(), where kernels keep zeros: how often a
// loop ends is then foreseen nearly always. An odd number of channels is
// made even by one without words.
//
//   SparseHeader   start: int32[even out]   begin: int32[slices * pairs + 1]
//   words: u32[]   index: u16[]   order: u8[slices * even out]
//
// start: of the accumulators. begin counts words, slice by slice, pair by pair;
// half of a pair's are the first channel's. order: channels, counted from their
// block's first. index is form.unit() times a word's place in its slice, so that
// vectors address a tile without arithmetic; kIndexSlack bytes past the last may
// be read.
#pragma once

#include <cstdint>
#include <cstring>

#include "../conv_s8/contract.h"
#include "../layout.h"

namespace glz {

constexpr int64_t kSparseBlock = 32;
constexpr int64_t kIndexSlack = 8;

// How weights are cut, by the vectors of pixels in a chunk: 8, 4 or 2; or 1: for products of one
// pixel and one tap, which have no vectors of pixels. Or 0: int8 for such products as a bitmap,
// which has the header of this file and a layout of its own (../bitmap_s8/packing.h).
struct SparseForm {
  int64_t vectors;
  constexpr bool one_pixel() const { return vectors == 1; }
  constexpr bool bitmap() const { return vectors == 0; }
  // At most: 40 KB of tile, 50 for float32, as few of its words are used and sums would be kept and
  // fetched too often; or what an index can say.
  template <typename Weight>
  constexpr int64_t slice_words() const {
    return vectors <= 1 ? 65000 : (sizeof(Weight) == 4 ? 800 : 640) / vectors;
  }
  constexpr int64_t unit() const { return one_pixel() ? 1 : 8 * vectors; }
};
constexpr SparseForm kBitmapForm = {0};
constexpr int64_t kMostVectors = 8;

// For layers of so many output pixels, by kernels whose vectors have so many lanes.
static inline SparseForm sparse_form(const ConvGeometry& g, int64_t lanes) {
  const int64_t rows = g.rows();
  const bool inside = g.pad_top == 0 && g.pad_left == 0;
  if (rows == 1 && g.kh * g.kw == 1 && inside) return {1};
  const int64_t vectors = (rows + lanes - 1) / lanes;
  const int64_t chunks = (vectors + kMostVectors - 1) / kMostVectors;
  const int64_t each = chunks == 0 ? kMostVectors : (vectors + chunks - 1) / chunks;
  return {each > 4 ? 8 : each > 2 ? 4 : 2};
}

struct SparseHeader {
  int64_t words;  // stored
  int64_t form;   // its vectors
  int64_t reserved[6];
};

// Input channels in a word.
template <typename Weight>
constexpr int64_t kPerWord = 4 / static_cast<int64_t>(sizeof(Weight));

struct SparseDepth {
  int64_t tap_words, words, slices;
  int64_t begin(int64_t slice) const { return words * slice / slices; }
  // Behind the longest slice, and what staging writes too much.
  int64_t pad_place() const { return (slices == 0 ? 0 : (words + slices - 1) / slices) + 3; }
};

template <typename Weight>
static inline SparseDepth sparse_depth(const ConvGeometry& g, SparseForm form) {
  const int64_t per_tap = (g.channels + kPerWord<Weight> - 1) / kPerWord<Weight>;
  const int64_t words = per_tap * g.kh * g.kw, most = form.slice_words<Weight>();
  return {per_tap, words, (words + most - 1) / most};
}

static inline int64_t sparse_pairs(const ConvGeometry& g) { return (g.out_channels + 1) / 2; }

// The arrays of packed weights.
template <typename Byte, typename Start, typename Word, typename Index, typename Order>
struct SparseArrays {
  Start* start;
  Start* begin;
  Word* words;
  Index* index;
  Order* order;

  SparseArrays(Byte* packed, int64_t pairs, int64_t slices, int64_t count) {
    start = reinterpret_cast<Start*>(packed + sizeof(SparseHeader));
    begin = start + 2 * pairs;
    words = reinterpret_cast<Word*>(begin + slices * pairs + 1);
    index = reinterpret_cast<Index*>(words + count);
    order = reinterpret_cast<Order*>(index + count);
  }
};
using SparseView =
    SparseArrays<const char, const int32_t, const uint32_t, const uint16_t, const uint8_t>;
using SparseTarget = SparseArrays<char, int32_t, uint32_t, uint16_t, uint8_t>;

static inline SparseHeader sparse_header(const void* packed) {
  SparseHeader header;
  memcpy(&header, packed, sizeof header);
  return header;
}

static inline SparseView sparse_view(const void* packed, const ConvGeometry& g,
                                     const SparseDepth& depth) {
  return SparseView(static_cast<const char*>(packed), sparse_pairs(g), depth.slices,
                    sparse_header(packed).words);
}

}  // namespace glz
