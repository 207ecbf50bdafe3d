// Makes the packed weights of packing.h, channel by channel; portable, at load time.
#pragma once

#include <memory>
#include <vector>

#include "../../base/buffer.h"
#include "packing.h"

namespace glz {

class PackedLayout;

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
  // Words with a weight other than zero, of those that were counted.
  int64_t words() const { return words_; }
  // When every channel was put.
  Buffer take();

 private:
  ConvGeometry g_;
  std::unique_ptr<PackedLayout> layout_;
  std::vector<int32_t> start_;  // of each channel's accumulators
  int64_t words_ = 0, put_ = 0;
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
