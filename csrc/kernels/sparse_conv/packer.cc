#include "packer.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "../../base/check.h"

namespace glz {
namespace {

// The words of one channel in one slice: [begin, end) of all.
struct Part {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

int64_t even(int64_t count) { return count + count % 2; }

// Channels of a block by falling number of words, and what each pair stores of each channel.
struct BlockOrder {
  std::vector<uint8_t> order;
  std::vector<int64_t> stored;  // of each pair, one channel's
};

BlockOrder order_block(const Part* parts, int64_t channels) {
  BlockOrder block;
  block.order.resize(channels);
  std::iota(block.order.begin(), block.order.end(), uint8_t{0});
  std::stable_sort(block.order.begin(), block.order.end(),
                   [&](uint8_t a, uint8_t b) { return parts[a].count() > parts[b].count(); });
  for (int64_t p = 0; p < channels / 2; ++p) {
    block.stored.push_back(even(parts[block.order[2 * p]].count()));
  }
  return block;
}

// Packs words that are sorted by channel, then place.
class PackedLayout {
 public:
  PackedLayout(const ConvGeometry& g, SparseForm form, const SparseDepth& depth,
               const std::vector<PlacedWord>& words, const std::vector<int64_t>& ends)
      : out_(2 * sparse_pairs(g)), form_(form), depth_(depth), words_(words) {
    parts_.resize(depth.slices * out_);
    for (int64_t o = 0; o < g.out_channels; ++o) split(o, ends[o], ends[o + 1]);
    for (int64_t slice = 0; slice < depth.slices; ++slice) {
      for (int64_t first = 0; first < out_; first += kSparseBlock) {
        blocks_.push_back(
            order_block(&parts_[slice * out_ + first], std::min(kSparseBlock, out_ - first)));
        for (const int64_t stored : blocks_.back().stored) stored_ += 2 * stored;
      }
    }
    GLZ_CHECK(stored_ <= std::numeric_limits<int32_t>::max(), kUnsupported,
              "sparse weights: packed they have more than 2^31 - 1 words");
  }

  Buffer write(const std::vector<uint32_t>& sums) const {
    const int64_t pairs = out_ / 2;
    Buffer packed(sizeof(SparseHeader) +
                  (out_ + depth_.slices * pairs + 1) * static_cast<int64_t>(sizeof(int32_t)) +
                  stored_ * (sizeof(uint32_t) + sizeof(uint16_t)) + depth_.slices * out_ +
                  kIndexSlack);
    SparseHeader header = {};
    header.words = stored_;
    header.form = form_.vectors;
    std::memcpy(packed.data(), &header, sizeof header);
    SparseTarget to(packed.as<char>(), pairs, depth_.slices, stored_);
    for (int64_t o = 0; o < out_; ++o) {
      const uint32_t sum = o < static_cast<int64_t>(sums.size()) ? sums[o] : 0;
      to.start[o] = static_cast<int32_t>(0u - static_cast<uint32_t>(kBias) * sum);
    }
    int32_t count = 0;
    auto block = blocks_.begin();
    for (int64_t slice = 0; slice < depth_.slices; ++slice) {
      for (int64_t first = 0; first < out_; first += kSparseBlock, ++block) {
        write_block(*block, slice, first, &to, &count);
      }
    }
    to.begin[depth_.slices * pairs] = count;
    return packed;
  }

 private:
  void split(int64_t channel, int64_t begin, int64_t end) {
    for (int64_t slice = 0; slice < depth_.slices; ++slice) {
      Part& part = parts_[slice * out_ + channel];
      part.begin = begin;
      while (begin < end && words_[begin].place < depth_.begin(slice + 1)) ++begin;
      part.end = begin;
    }
  }

  void write_block(const BlockOrder& block, int64_t slice, int64_t first, SparseTarget* to,
                   int32_t* count) const {
    const int64_t at = slice * out_ + first;
    std::copy(block.order.begin(), block.order.end(), to->order + at);
    for (size_t p = 0; p < block.stored.size(); ++p) {
      to->begin[at / 2 + p] = *count;
      for (size_t i = 2 * p; i < 2 * p + 2; ++i) {
        write_part(parts_[at + block.order[i]], slice, block.stored[p], to, count);
      }
    }
  }

  void write_part(const Part& part, int64_t slice, int64_t stored, SparseTarget* to,
                  int32_t* count) const {
    for (int64_t i = 0; i < stored; ++i, ++*count) {
      const bool there = i < part.count();
      const int64_t place =
          there ? words_[part.begin + i].place - depth_.begin(slice) : depth_.pad_place();
      to->words[*count] = there ? words_[part.begin + i].word : 0;
      to->index[*count] = static_cast<uint16_t>(place * form_.unit());
    }
  }

  const int64_t out_;  // even
  const SparseForm form_;
  const SparseDepth depth_;
  const std::vector<PlacedWord>& words_;
  std::vector<Part> parts_;  // slice by slice, channel by channel
  std::vector<BlockOrder> blocks_;
  int64_t stored_ = 0;
};

// Calls fn(channel, word, place) for each word, slice by slice: places ascend within a channel.
template <typename Weight, typename Fn>
void each_packed(const ConvGeometry& g, const Buffer& packed, const Fn& fn) {
  const SparseForm form = {sparse_header(packed.data()).form};
  const SparseDepth depth = sparse_depth<Weight>(g, form);
  const SparseView view = sparse_view(packed.data(), g, depth);
  const int64_t pairs = sparse_pairs(g);
  for (int64_t at = 0; at < depth.slices * pairs; ++at) {
    const int64_t slice = at / pairs, first = 2 * (at % pairs) / kSparseBlock * kSparseBlock;
    const int32_t middle = (view.begin[at] + view.begin[at + 1]) / 2;
    for (int32_t i = view.begin[at]; i < view.begin[at + 1]; ++i) {
      if (view.words[i] == 0) continue;
      const int64_t channel = first + view.order[2 * at + (i >= middle)];
      fn(channel, view.words[i], depth.begin(slice) + view.index[i] / form.unit());
    }
  }
}

}  // namespace

template <typename Weight>
SparsePacker<Weight>::SparsePacker(const ConvGeometry& g) : g_(g) {}

template <typename Weight>
void SparsePacker<Weight>::add_word(uint32_t word, int64_t place) {
  const bool zero = word == 0 || (sizeof(Weight) == 4 && word == 0x80000000u);  // -0.0
  if (!zero) words_.push_back({word, static_cast<int32_t>(place)});
}

template <typename Weight>
void SparsePacker<Weight>::add(const Weight* channel) {
  constexpr int64_t kPer = kPerWord<Weight>;
  int64_t place = 0;
  uint32_t sum = 0;
  for (int64_t tap = 0; tap < g_.kh * g_.kw; ++tap, channel += g_.channels) {
    for (int64_t first = 0; first < g_.channels; first += kPer, ++place) {
      uint32_t word = 0;
      std::memcpy(&word, channel + first, sizeof(Weight) * std::min(kPer, g_.channels - first));
      add_word(word, place);
    }
    if (sizeof(Weight) == 1) {
      for (int64_t c = 0; c < g_.channels; ++c) {
        sum += static_cast<uint32_t>(static_cast<int32_t>(channel[c]));
      }
    }
  }
  ends_.push_back(words());
  sums_.push_back(sum);
}

template <typename Weight>
Buffer SparsePacker<Weight>::finish(SparseForm form) const {
  const SparseDepth depth = sparse_depth<Weight>(g_, form);
  return PackedLayout(g_, form, depth, words_, ends_).write(sums_);
}

template <typename Weight>
std::vector<Weight> sparse_unpack(const ConvGeometry& g, const Buffer& packed) {
  constexpr int64_t kPer = kPerWord<Weight>;
  const int64_t size = g.kh * g.kw * g.channels, per_tap = ceil_div(g.channels, kPer);
  std::vector<Weight> weights(g.out_channels * size, Weight{0});
  each_packed<Weight>(g, packed, [&](int64_t channel, uint32_t word, int64_t place) {
    const int64_t first = place % per_tap * kPer;
    std::memcpy(&weights[channel * size + place / per_tap * g.channels + first], &word,
                sizeof(Weight) * std::min(kPer, g.channels - first));
  });
  return weights;
}

template <typename Weight>
Buffer sparse_repack(const ConvGeometry& g, const Buffer& packed, SparseForm form) {
  std::vector<std::vector<PlacedWord>> channels(g.out_channels);
  each_packed<Weight>(g, packed, [&](int64_t channel, uint32_t word, int64_t place) {
    channels[channel].push_back({word, static_cast<int32_t>(place)});
  });
  std::vector<PlacedWord> words;
  std::vector<int64_t> ends = {0};
  for (const auto& channel : channels) {
    words.insert(words.end(), channel.begin(), channel.end());
    ends.push_back(static_cast<int64_t>(words.size()));
  }
  const SparseDepth depth = sparse_depth<Weight>(g, form);
  Buffer to = PackedLayout(g, form, depth, words, ends).write({});
  std::memcpy(to.as<char>() + sizeof(SparseHeader), packed.as<char>() + sizeof(SparseHeader),
              2 * sparse_pairs(g) * sizeof(int32_t));  // start
  return to;
}

template <typename Weight>
Buffer sparse_pack(const ConvGeometry& g, const Weight* weights, SparseForm form) {
  SparsePacker<Weight> packer(g);
  const int64_t size = g.kh * g.kw * g.channels;
  for (int64_t o = 0; o < g.out_channels; ++o) packer.add(weights + o * size);
  return packer.finish(form);
}

template class SparsePacker<int8_t>;
template class SparsePacker<float>;
template std::vector<int8_t> sparse_unpack(const ConvGeometry&, const Buffer&);
template std::vector<float> sparse_unpack(const ConvGeometry&, const Buffer&);
template Buffer sparse_repack<int8_t>(const ConvGeometry&, const Buffer&, SparseForm);
template Buffer sparse_repack<float>(const ConvGeometry&, const Buffer&, SparseForm);
template Buffer sparse_pack(const ConvGeometry&, const int8_t*, SparseForm);
template Buffer sparse_pack(const ConvGeometry&, const float*, SparseForm);

}  // namespace glz
