#include "packer.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "../../base/check.h"

namespace glz {
namespace {

int64_t even(int64_t count) { return count + count % 2; }

}  // namespace

// Words by slice and channel: counted first, then put where the counts say they go.
class PackedLayout {
 public:
  PackedLayout(const ConvGeometry& g, SparseForm form, const SparseDepth& depth)
      : out_(2 * sparse_pairs(g)), form_(form), depth_(depth), next_(depth.slices * out_, 0) {}

  void count(int64_t channel, int64_t place) { ++next_[slice_of(place) * out_ + channel]; }

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
    for (int64_t i = 0; i < channels; i += 2) stored->push_back(even(next_[at + by_words[i]]));
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

namespace {

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

// Calls fn(word, place) for each word of a channel that is not zero.
template <typename Weight, typename Fn>
void each_word(const ConvGeometry& g, const Weight* channel, const Fn& fn) {
  constexpr int64_t kPer = kPerWord<Weight>;
  int64_t place = 0;
  for (int64_t tap = 0; tap < g.kh * g.kw; ++tap, channel += g.channels) {
    for (int64_t first = 0; first < g.channels; first += kPer, ++place) {
      uint32_t word = 0;
      std::memcpy(&word, channel + first, sizeof(Weight) * std::min(kPer, g.channels - first));
      const bool zero = (sizeof(Weight) == 4 ? word << 1 : word) == 0;  // -0.0 too
      if (!zero) fn(word, place);
    }
  }
}

// So that the bytes of codes may be multiplied as they are stored.
int32_t start_of(const ConvGeometry& g, const int8_t* channel) {
  uint32_t sum = 0;
  for (int64_t i = 0; i < g.kh * g.kw * g.channels; ++i) {
    sum += static_cast<uint32_t>(static_cast<int32_t>(channel[i]));
  }
  return static_cast<int32_t>(0u - static_cast<uint32_t>(g.zero) * sum);
}
int32_t start_of(const ConvGeometry&, const float*) { return 0; }

template <typename Weight>
SparsePacker<Weight>::SparsePacker(const ConvGeometry& g, SparseForm form)
    : g_(g), layout_(std::make_unique<PackedLayout>(g, form, sparse_depth<Weight>(g, form))) {}

template <typename Weight>
SparsePacker<Weight>::~SparsePacker() = default;

template <typename Weight>
void SparsePacker<Weight>::count(const Weight* channel) {
  const auto number = static_cast<int64_t>(start_.size());
  each_word(g_, channel, [&](uint32_t, int64_t place) {
    layout_->count(number, place);
    ++words_;
  });
  start_.push_back(start_of(g_, channel));
}

template <typename Weight>
void SparsePacker<Weight>::put(const Weight* channel) {
  if (put_ == 0) layout_->lay_out(start_);
  each_word(g_, channel, [&](uint32_t word, int64_t place) { layout_->put(put_, word, place); });
  ++put_;
}

template <typename Weight>
Buffer SparsePacker<Weight>::take() {
  return layout_->take();
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
  PackedLayout layout(g, form, sparse_depth<Weight>(g, form));
  each_packed<Weight>(
      g, packed, [&](int64_t channel, uint32_t, int64_t place) { layout.count(channel, place); });
  const auto* start = reinterpret_cast<const int32_t*>(packed.as<char>() + sizeof(SparseHeader));
  layout.lay_out({start, start + 2 * sparse_pairs(g)});
  each_packed<Weight>(g, packed, [&](int64_t channel, uint32_t word, int64_t place) {
    layout.put(channel, word, place);
  });
  return layout.take();
}

template <typename Weight>
Buffer sparse_pack(const ConvGeometry& g, const Weight* weights, SparseForm form) {
  SparsePacker<Weight> packer(g, form);
  const int64_t size = g.kh * g.kw * g.channels;
  for (int64_t o = 0; o < g.out_channels; ++o) packer.count(weights + o * size);
  for (int64_t o = 0; o < g.out_channels; ++o) packer.put(weights + o * size);
  return packer.take();
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
