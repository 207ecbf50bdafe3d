// int8 convolution of many narrow groups: as many output channels as input channels in each.
//
// The implicit GEMM would have to fill its vectors with the zeros between such groups.
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

// Channels of a group that there is code for.
constexpr bool is_narrow_group(int64_t channels) {
  return channels == 4 || channels == 8 || channels == 16 || channels == 32;
}

struct GroupedS8Args {
  ConvGeometry geometry;  // channels and out_channels: of all groups
  const uint8_t* input;   // codes
  const void* packed;
  Epilogue epilogue;
  int64_t width;  // channels of a group; is_narrow_group(width)
};

struct GroupedS8Kernel {
  size_t (*packed_bytes)(const ConvGeometry&, int64_t width);
  // weights: [channels][kh][kw][width]
  void (*pack)(const ConvGeometry&, int64_t width, const int8_t* weights, void* packed);
  // Output image rows [begin, end) of n * oh.
  void (*run)(const GroupedS8Args&, int64_t begin, int64_t end);
  int64_t widest;  // wider groups are faster in conv_s8
};

}  // namespace glz
