#include "packing.h"

#include <algorithm>
#include <cstring>

#include "../../base/check.h"

namespace glz {
namespace {

constexpr int64_t kBlockBytes = 64;

LowBitsHeader make_header(int64_t channels, int64_t inputs, int width) {
  LowBitsHeader header{};
  header.width = width;
  header.factor = width == 1 ? 2 : 1;
  header.offset = width == 4 ? 8 : 1;
  header.terms = 4 * 8 / width;
  header.blocks = ceil_div(inputs, header.terms);
  header.channels = channels;
  header.inputs = inputs;
  header.corrections = round_up(sizeof(LowBitsHeader), kBlockBytes);
  header.panels = header.corrections + round_up(channels, kLowBitsPanel) * sizeof(int32_t);
  return header;
}

}  // namespace

int low_bits_width(const int8_t* codes, int64_t count) {
  int8_t low = 0, high = 0;
  bool zero = false;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, codes[i]);
    high = std::max(high, codes[i]);
    zero = zero || codes[i] == 0;
  }
  const int most = std::max<int>(-low, high);
  if (most > 7) return 0;
  if (most > 1) return 4;
  return zero ? 2 : 1;
}

size_t low_bits_bytes(int64_t channels, int64_t inputs, int width) {
  const LowBitsHeader header = make_header(channels, inputs, width);
  return header.panels + ceil_div(channels, kLowBitsPanel) * header.blocks * kBlockBytes;
}

void pack_low_bits(const int8_t* codes, int64_t channels, int64_t inputs, int width, int zero,
                   void* packed) {
  const LowBitsHeader header = make_header(channels, inputs, width);
  auto* base = static_cast<uint8_t*>(packed);
  std::memset(base, 0, low_bits_bytes(channels, inputs, width));
  std::memcpy(base, &header, sizeof header);
  auto* corrections = reinterpret_cast<int32_t*>(base + header.corrections);
  for (int64_t c = 0; c < channels; ++c) {
    uint8_t* panel = base + header.panels + c / kLowBitsPanel * header.blocks * kBlockBytes;
    for (int64_t k = 0; k < inputs; ++k) {
      const int code = codes[c * inputs + k];
      const int64_t place = k / header.terms * kBlockBytes + c % kLowBitsPanel * 4 + k % 4;
      const int n = (code + header.offset) / header.factor;
      panel[place] |= static_cast<uint8_t>(n << (k % header.terms / 4 * width));
      corrections[c] -= zero * code;
    }
  }
}

}  // namespace glz
