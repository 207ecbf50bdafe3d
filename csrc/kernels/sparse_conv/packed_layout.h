// Where words go: the layout of packing.h, filled word by word. For packer.cc.
#pragma once

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "../../base/buffer.h"
#include "../../base/check.h"
#include "packing.h"

namespace glz {

// Words by slice and channel: counted first, then put where the counts say they go.
class PackedLayout {
 public:
  PackedLayout(const ConvGeometry& g, SparseForm form, const SparseDepth& depth)
      : out_(2 * sparse_pairs(g)), form_(form), depth_(depth), next_(depth.slices * out_, 0) {}

  void count(int64_t channel, uint32_t, int64_t place) {
    ++next_[slice_of(place) * out_ + channel];
  }

  // When all are counted. `start`: of each channel's accumulators; fewer: the rest is zero.
  void lay_out(const std::vector<int32_t>& start) {
    std::vector<uint8_t> order;
    std::vector<int64_t> stored;  // of each pair, one channel's
    for (int64_t at = 0; at < depth_.slices * out_; at += block_at(at)) {
      order_block(at, block_at(at), &order, &stored);
    }
    const int64_t words = 2 * std::accumulate(stored.begin(), stored.end(), int64_t{0});
    GLZ_CHECK(words <= std::numeric_limits<int32_t>::max(), kUnsupported,
              "sparse weights: packed they have more than 2^31 - 1 words");
    allocate(words);
    const SparseTarget to = target();
    std::copy(start.begin(), start.end(), to.start);
    std::copy(order.begin(), order.end(), to.order);
    std::fill_n(to.words, words, 0u);
    std::fill_n(to.index, words, index_of(depth_.pad_place()));
    int32_t begin = 0;
    for (size_t pair = 0; pair < stored.size(); ++pair) {
      to.begin[pair] = begin;
      for (size_t i = 2 * pair; i < 2 * pair + 2; ++i) {
        const int64_t at = static_cast<int64_t>(i);
        next_[at / out_ * out_ + at % out_ / kSparseBlock * kSparseBlock + order[i]] = begin;
        begin += static_cast<int32_t>(stored[pair]);
      }
    }
    to.begin[stored.size()] = begin;
  }

  // The next word of a channel: places ascend.
  void put(int64_t channel, uint32_t word, int64_t place) {
    const int64_t slice = slice_of(place);
    const int32_t at = next_[slice * out_ + channel]++;
    const SparseTarget to = target();
    to.words[at] = word;
    to.index[at] = index_of(place - depth_.begin(slice));
  }

  Buffer take() { return std::move(packed_); }

 private:
  // Channels of the block that begins at slice and channel `at`.
  int64_t block_at(int64_t at) const { return std::min(kSparseBlock, out_ - at % out_); }

  // Channels by falling number of words.
  void order_block(int64_t at, int64_t channels, std::vector<uint8_t>* order,
                   std::vector<int64_t>* stored) const {
    std::vector<uint8_t> by_words(channels);
    std::iota(by_words.begin(), by_words.end(), uint8_t{0});
    std::stable_sort(by_words.begin(), by_words.end(),
                     [&](uint8_t a, uint8_t b) { return next_[at + a] > next_[at + b]; });
    for (int64_t i = 0; i < channels; i += 2)
      stored->push_back(round_up(next_[at + by_words[i]], 2));
    order->insert(order->end(), by_words.begin(), by_words.end());
  }

  void allocate(int64_t words) {
    const size_t numbers = out_ + depth_.slices * (out_ / 2) + 1;
    packed_ =
        Buffer(sizeof(SparseHeader) + numbers * sizeof(int32_t) +
               words * (sizeof(uint32_t) + sizeof(uint16_t)) + depth_.slices * out_ + kIndexSlack);
    std::memset(packed_.data(), 0, sizeof(SparseHeader) + numbers * sizeof(int32_t));
    std::memset(packed_.as<char>() + packed_.size() - kIndexSlack, 0, kIndexSlack);
    SparseHeader header = {};
    header.words = words;
    header.form = form_.vectors;
    std::memcpy(packed_.data(), &header, sizeof header);
  }

  SparseTarget target() {
    return SparseTarget(packed_.as<char>(), out_ / 2, depth_.slices,
                        packed_.as<SparseHeader>()->words);
  }

  uint16_t index_of(int64_t place) const { return static_cast<uint16_t>(place * form_.unit()); }

  // Places ascend within a channel: mostly the slice of the last one.
  int64_t slice_of(int64_t place) {
    if (place < first_ || place >= end_) {
      slice_ = place * depth_.slices / depth_.words;
      while (depth_.begin(slice_ + 1) <= place) ++slice_;
      first_ = depth_.begin(slice_);
      end_ = depth_.begin(slice_ + 1);
    }
    return slice_;
  }

  const int64_t out_;  // even
  const SparseForm form_;
  const SparseDepth depth_;
  std::vector<int32_t> next_;  // by slice and channel: words counted, then where the next goes
  Buffer packed_;
  int64_t slice_ = 0, first_ = 0, end_ = 0;  // of slice_of()
};

}  // namespace glz
