// Makes the packed weights of packing.h, or a bitmap of them (../bitmap_s8/packing.h), channel by
// channel; portable, at load time.
#pragma once

#include <memory>
#include <vector>

#include "../../base/buffer.h"
#include "packing.h"

namespace glz {

class BitmapLayout;
class PackedLayout;

// What is not zero: words of 32 bits with such a weight, and those weights.
struct SparseSize {
  int64_t words = 0, weights = 0;
};

// Two passes over the output channels: count() every one, then put() every one in the same order.
// Nothing but the packed words is kept. Weight: int8_t or float.
template <typename Weight>
class SparsePacker {
 public:
  // n, h, w, oh, ow of the geometry do not matter.
  SparsePacker(const ConvGeometry& g, SparseForm form);
  ~SparsePacker();

  // The next output channel: [kh][kw][channels].
  void count(const Weight* channel);
  void put(const Weight* channel);
  // Of the channels that were counted.
  SparseSize size() const { return size_; }
  // Between the passes: an int8 product of one row as a bitmap after all.
  void use_bitmap();
  // When every channel was put.
  Buffer take();

 private:
  ConvGeometry g_;
  std::unique_ptr<PackedLayout> words_;
  std::unique_ptr<BitmapLayout> bitmap_;  // null where there can be none
  std::vector<int32_t> start_;            // of each channel's accumulators
  SparseSize size_;
  int64_t put_ = 0;
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
