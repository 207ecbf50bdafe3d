#include "packer.h"

#include <algorithm>

#include "../../base/check.h"
#include "../bitmap_s8/packer.h"
#include "packed_layout.h"

namespace glz {
namespace {

// Calls fn(channel, word, place) for each word: places ascend within a channel.
template <typename Weight, typename Fn>
void each_packed(const ConvGeometry& g, const Buffer& packed, const Fn& fn) {
  const SparseForm form = {sparse_header(packed.data()).form};
  if (form.bitmap()) {
    const BitmapView view(packed.as<char>(), g.out_channels, g.channels);
    return each_bitmap_word(view, g.out_channels, fn);
  }
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

// Of the accumulators of channels that are packed already.
std::vector<int32_t> starts_of(const ConvGeometry& g, const Buffer& packed) {
  const auto* start = reinterpret_cast<const int32_t*>(packed.as<char>() + sizeof(SparseHeader));
  if (SparseForm{sparse_header(packed.data()).form}.bitmap()) {
    start = BitmapView(packed.as<char>(), g.out_channels, g.channels).start;
  }
  return {start, start + g.out_channels};
}

// Only products of one row are looked at as a bitmap, too.
template <typename Weight>
bool may_be_bitmap(const ConvGeometry& g, SparseForm form) {
  return sizeof(Weight) == 1 && g.kh * g.kw == 1 && (form.one_pixel() || form.bitmap());
}

}  // namespace

template <typename Weight>
SparsePacker<Weight>::SparsePacker(const ConvGeometry& g, SparseForm form) : g_(g) {
  if (may_be_bitmap<Weight>(g, form)) {
    bitmap_ = std::make_unique<BitmapLayout>(g.out_channels, g.channels);
  }
  if (!form.bitmap()) {
    words_ = std::make_unique<PackedLayout>(g, form, sparse_depth<Weight>(g, form));
  }
}

template <typename Weight>
SparsePacker<Weight>::~SparsePacker() = default;

template <typename Weight>
void SparsePacker<Weight>::count(const Weight* channel) {
  const auto number = static_cast<int64_t>(start_.size());
  each_word(g_, channel, [&](uint32_t word, int64_t place) {
    if (words_) words_->count(number, word, place);
    if (bitmap_) bitmap_->count(number, word, place);
    ++size_.words;
  });
  const int64_t inputs = g_.kh * g_.kw * g_.channels;
  size_.weights += inputs - std::count(channel, channel + inputs, Weight{0});
  start_.push_back(start_of(g_, channel));
}

template <typename Weight>
void SparsePacker<Weight>::use_bitmap() {
  GLZ_CHECK(bitmap_ != nullptr, kConfig,
            "sparse weights: only int8 products of one row have a bitmap");
  words_.reset();
}

template <typename Weight>
void SparsePacker<Weight>::put(const Weight* channel) {
  const auto put_into = [&](auto& layout) {
    if (put_ == 0) layout.lay_out(start_);
    each_word(g_, channel, [&](uint32_t word, int64_t place) { layout.put(put_, word, place); });
  };
  words_ ? put_into(*words_) : put_into(*bitmap_);
  ++put_;
}

template <typename Weight>
Buffer SparsePacker<Weight>::take() {
  return words_ ? words_->take() : bitmap_->take();
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
  const auto repack = [&](auto layout) {
    each_packed<Weight>(g, packed, [&](int64_t channel, uint32_t word, int64_t place) {
      layout.count(channel, word, place);
    });
    layout.lay_out(starts_of(g, packed));
    each_packed<Weight>(g, packed, [&](int64_t channel, uint32_t word, int64_t place) {
      layout.put(channel, word, place);
    });
    return layout.take();
  };
  if (form.bitmap()) return repack(BitmapLayout(g.out_channels, g.channels));
  return repack(PackedLayout(g, form, sparse_depth<Weight>(g, form)));
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
