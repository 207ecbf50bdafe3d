#include "packer.h"

#include <algorithm>
#include <bitset>

namespace glz {
namespace {

// Calls fn(i, byte) for each byte of a word other than zero.
template <typename Fn>
void each_byte(uint32_t word, const Fn& fn) {
  for (int i = 0; i < 4; ++i) {
    const auto byte = static_cast<int8_t>(word >> (8 * i));
    if (byte != 0) fn(i, byte);
  }
}

}  // namespace

BitmapLayout::BitmapLayout(int64_t channels, int64_t inputs)
    : channels_(channels),
      inputs_(inputs),
      next_((channels + kBitmapPanel - 1) / kBitmapPanel * kBitmapPanel, 0) {}

void BitmapLayout::count(int64_t channel, uint32_t word, int64_t) {
  each_byte(word, [&](int, int8_t) { ++next_[channel]; });
}

void BitmapLayout::lay_out(const std::vector<int32_t>& start) {
  const auto out = static_cast<int64_t>(next_.size());
  const int64_t groups = bitmap_groups(inputs_);
  const int64_t head =
      static_cast<int64_t>(sizeof(SparseHeader)) + 8 * (out * groups + out + 1) + 5 * out;
  int64_t bytes = 0;
  for (int64_t& next : next_) {
    const int64_t count = next;
    next = bytes;
    bytes += count;
  }
  packed_ = Buffer(head + bytes);
  std::memset(packed_.data(), 0, head);
  SparseHeader header = {};
  header.words = bytes;
  header.form = kBitmapForm.vectors;
  std::memcpy(packed_.data(), &header, sizeof header);
  const BitmapTarget to = target();
  std::copy(next_.begin(), next_.end(), to.begin);
  to.begin[out] = bytes;
  std::copy_n(start.begin(), channels_, to.start);
}

void BitmapLayout::put(int64_t channel, uint32_t word, int64_t place) {
  const BitmapTarget to = target();
  each_byte(word, [&](int i, int8_t byte) {
    to.masks[channel * to.groups + place / 16] |= uint64_t{1} << (place % 16 * 4 + i);
    to.bytes[next_[channel]++] = byte;
  });
}

Buffer BitmapLayout::take() {
  const BitmapTarget to = target();
  for (int64_t channel = 0; channel < channels_; ++channel) {
    const uint64_t* masks = to.masks + channel * to.groups;
    for (int64_t group = 0; group < to.groups; ++group) {
      const auto width = static_cast<uint8_t>(std::bitset<64>(masks[group]).count());
      to.widest[channel] = std::max(to.widest[channel], width);
    }
  }
  return std::move(packed_);
}

}  // namespace glz
