// The layout of weights as a bitmap; packer.h makes it. In memory, [out] filled up to whole panels
// of kBitmapPanel channels:
//
//   SparseHeader   masks: u64[out][groups]   begin: i64[out + 1]   start: i32[out]
//   widest: u8[out]   bytes: i8[]
//
// Groups are 64 inputs, their number filled up to blocks of kBitmapBlock; bit i of its mask says
// that input i has a weight other than zero, whose byte follows those before it. begin: where a
// channel's bytes begin. start: of the accumulators. widest: the most bytes of a group of the
// channel. 64 bytes past the last may be read. The header's form is kBitmapForm, its words count
// bytes.
#pragma once

#include <cstdint>

#include "../sparse_conv/packing.h"

namespace glz {

constexpr int64_t kBitmapPanel = 16;
constexpr int64_t kBitmapGroup = 64;
constexpr int64_t kBitmapBlock = 4;

constexpr int64_t bitmap_groups(int64_t inputs) {
  constexpr int64_t kInputs = kBitmapBlock * kBitmapGroup;
  return (inputs + kInputs - 1) / kInputs * kBitmapBlock;
}

template <typename Byte, typename Mask, typename Begin, typename Start, typename Width,
          typename Weight>
struct BitmapArrays {
  int64_t groups;  // of a channel
  Mask* masks;
  Begin* begin;
  Start* start;
  Width* widest;
  Weight* bytes;

  BitmapArrays(Byte* packed, int64_t channels, int64_t inputs) : groups(bitmap_groups(inputs)) {
    const int64_t out = (channels + kBitmapPanel - 1) / kBitmapPanel * kBitmapPanel;
    masks = reinterpret_cast<Mask*>(packed + sizeof(SparseHeader));
    begin = reinterpret_cast<Begin*>(masks + out * groups);
    start = reinterpret_cast<Start*>(begin + out + 1);
    widest = reinterpret_cast<Width*>(start + out);
    bytes = reinterpret_cast<Weight*>(widest + out);
  }
};
using BitmapView = BitmapArrays<const char, const uint64_t, const int64_t, const int32_t,
                                const uint8_t, const int8_t>;
using BitmapTarget = BitmapArrays<char, uint64_t, int64_t, int32_t, uint8_t, int8_t>;

// Calls fn(channel, word, place) for each word that is not zero, channel by channel.
template <typename Fn>
void each_bitmap_word(const BitmapView& view, int64_t channels, const Fn& fn) {
  for (int64_t channel = 0; channel < channels; ++channel) {
    const int8_t* from = view.bytes + view.begin[channel];
    for (int64_t place = 0; place < 16 * view.groups; ++place) {
      const uint64_t mask = view.masks[channel * view.groups + place / 16];
      uint32_t word = 0;
      for (int64_t i = 0; i < 4; ++i) {
        if ((mask >> (place % 16 * 4 + i) & 1) == 0) continue;
        word |= static_cast<uint32_t>(static_cast<uint8_t>(*from++)) << (8 * i);
      }
      if (word != 0) fn(channel, word, place);
    }
  }
}

}  // namespace glz
