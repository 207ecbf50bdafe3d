// vpexpandb: 64 weights from the bytes of those that are not zero; vpdpbusd multiplies them.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "packing.h"

namespace glz::avx512vbmi2 {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../vector/finish.inl.h"

constexpr int kChannels = 2;  // at a time, since a group's bytes are where the masks before say

// What streams is used once, and the hardware alone does not read far enough ahead. So many
// channels ahead is asked for: whole pairs, or else the second's begin would be left out.
int64_t channels_ahead(const BitmapView& w, int64_t channels) {
  constexpr int64_t kBytes = 4096;
  const int64_t of_channel = most(1, w.begin[channels] / most(1, channels));
  return kChannels * parts(kBytes, kChannels * of_channel);
}

// No more bytes than a group may have: the fewer, the seldomer they are in two cache lines.
template <int kBytes>
GLZ_INLINE __m512i load(const int8_t* bytes) {
  if constexpr (kBytes == 64) return _mm512_loadu_si512(bytes);
  return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}

// On Zen 5 vpexpandb waits for what its destination held, even where it leaves nothing of that.
GLZ_INLINE __m512i expand(uint64_t mask, __m512i packed) {
  __m512i to;
  asm("vpxord %0, %0, %0\n\tvpexpandb %1, %0%{%2%}" : "=&v"(to) : "v"(packed), "Yk"(mask));
  return to;
}

// The sums of two channels from `channel` on; `later`: the one that is asked for.
template <int kBytes>
GLZ_INLINE void add_channels(const BitmapView& w, const uint8_t* x, int64_t channel, int64_t later,
                             int32_t* sums) {
  const int8_t* bytes[kChannels] = {w.bytes + w.begin[channel], w.bytes + w.begin[channel + 1]};
  const int64_t ahead[kChannels] = {w.begin[later] - w.begin[channel],
                                    w.begin[later + 1] - w.begin[channel + 1]};
  const uint64_t *masks = w.masks + channel * w.groups, *end = masks + w.groups;
  __m512i acc[kChannels][2] = {};
  for (; masks < end; masks += kBitmapBlock, x += kBitmapBlock * kBitmapGroup) {
    unroll<kChannels>([&](auto c) GLZ_UNROLLED {
      __builtin_prefetch(masks + (later - channel + c.value) * w.groups);
      for (int line = 0; line < kBytes / 32; ++line) {
        __builtin_prefetch(bytes[c.value] + ahead[c.value] + 64 * line);
      }
    });
    unroll<kBitmapBlock>([&](auto g) GLZ_UNROLLED {
      const __m512i in = _mm512_load_si512(x + g.value * kBitmapGroup);
      unroll<kChannels>([&](auto c) GLZ_UNROLLED {
        const uint64_t mask = masks[g.value + c.value * w.groups];
        __m512i& sum = acc[c.value][g.value % 2];
        sum = _mm512_dpbusd_epi32(sum, in, expand(mask, load<kBytes>(bytes[c.value])));
        bytes[c.value] += __builtin_popcountll(mask);
      });
    });
  }
  unroll<kChannels>([&](auto c) GLZ_UNROLLED {
    sums[c.value] = _mm512_reduce_add_epi32(_mm512_add_epi32(acc[c.value][0], acc[c.value][1]));
  });
}

size_t workspace_bytes(const ConvGeometry& g) {
  return static_cast<size_t>(bitmap_groups(g.channels) * kBitmapGroup);
}

void run_row(const ConvGeometry& g, const BitmapView& w, const Epilogue& e, const uint8_t* x,
             int64_t row, int64_t panel_begin, int64_t panel_end) {
  const int64_t packed_channels = parts(g.out_channels, kBitmapPanel) * kBitmapPanel;
  const int64_t ahead = channels_ahead(w, packed_channels);
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const int64_t first = panel * kBitmapPanel;
    const int64_t count = least(kBitmapPanel, g.out_channels - first);
    alignas(64) int32_t sums[kBitmapPanel] = {};
    for (int64_t c = 0; c < count; c += kChannels) {  // beyond the last channel all masks are zero
      const int64_t at = first + c, later = least(at + ahead, packed_channels - kChannels);
      if (most(w.widest[at], w.widest[at + 1]) <= 32) {
        add_channels<32>(w, x, at, later, sums + c);
      } else {
        add_channels<64>(w, x, at, later, sums + c);
      }
    }
    const __m512i start = _mm512_loadu_si512(w.start + first);
    const __m512i acc[1] = {_mm512_add_epi32(_mm512_load_si512(sums), start)};
    finish_row<true>(e, acc, row, first, count);
  }
}

void run(const ConvS8Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  const ConvGeometry& g = a.geometry;
  const BitmapView w(static_cast<const char*>(a.packed), g.out_channels, g.channels);
  Epilogue e = a.epilogue;
  clamp_to_codes(&e);
  auto* x = static_cast<uint8_t*>(a.workspace);
  memset(x + g.channels, 0, workspace_bytes(g) - static_cast<size_t>(g.channels));
  for (int64_t row = row_begin; row < row_end; ++row) {
    memcpy(x, a.input + row * g.stride_c, static_cast<size_t>(g.channels));
    run_row(g, w, e, x, row, panel_begin, panel_end);
  }
}

}  // namespace

extern const BitmapS8Kernel bitmap_s8;
const BitmapS8Kernel bitmap_s8 = {kBitmapPanel, 1, workspace_bytes, run, true};

}  // namespace glz::avx512vbmi2
