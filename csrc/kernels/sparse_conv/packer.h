// Makes the packed weights of packing.h, channel by channel; portable, at load time.
#pragma once

#include <vector>

#include "../../base/buffer.h"
#include "packing.h"

namespace glz {

// A word other than zero, and its place in the depth.
struct PlacedWord {
  uint32_t word;
  int32_t place;
};

// Weight: int8_t or float.
template <typename Weight>
class SparsePacker {
 public:
  // n, h, w, oh, ow of the geometry do not matter.
  explicit SparsePacker(const ConvGeometry& g);

  // The next output channel: [kh][kw][channels].
  void add(const Weight* channel);
  // Words with a weight other than zero so far.
  int64_t words() const { return static_cast<int64_t>(words_.size()); }
  // When every channel was added.
  Buffer finish(SparseForm form) const;

 private:
  void add_word(uint32_t word, int64_t place);

  ConvGeometry g_;
  std::vector<PlacedWord> words_;
  std::vector<int64_t> ends_ = {0};  // of each channel's, in words_
  std::vector<uint32_t> sums_;       // of each channel's weights, modulo 2^32; int8 only
};

// The same weights in another form.
template <typename Weight>
Buffer sparse_repack(const ConvGeometry& g, const Buffer& packed, SparseForm form);

// The weights with their zeros: [out][kh][kw][channels].
template <typename Weight>
std::vector<Weight> sparse_unpack(const ConvGeometry& g, const Buffer& packed);

// All at once.
template <typename Weight>
Buffer sparse_pack(const ConvGeometry& g, const Weight* weights, SparseForm form);

}  // namespace glz
