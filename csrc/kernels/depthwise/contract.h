// Depthwise convolution (groups = channels = output channels), int8 and float32.
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

struct DepthwiseS8Args {
  ConvGeometry geometry;  // channels and out_channels: all of them
  const uint8_t* input;   // codes
  const void* packed;
  Epilogue epilogue;
};
struct DepthwiseF32Args {
  ConvGeometry geometry;
  const float* input;
  const void* packed;
  Epilogue epilogue;
};

struct DepthwiseS8Kernel {
  size_t (*packed_bytes)(const ConvGeometry&);
  void (*pack)(const ConvGeometry&, const int8_t* weights, void* packed);  // [channels][kh][kw]
  // Output image rows [begin, end) of n * oh.
  void (*run)(const DepthwiseS8Args&, int64_t begin, int64_t end);
};
struct DepthwiseF32Kernel {
  size_t (*packed_bytes)(const ConvGeometry&);
  void (*pack)(const ConvGeometry&, const float* weights, void* packed);
  void (*run)(const DepthwiseF32Args&, int64_t begin, int64_t end);
};

}  // namespace glz
