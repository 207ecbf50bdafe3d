// float32 convolution and matrix product: the shape of conv_s8, in float32. Zero outside the image.
// Sums may be reordered and fused; the tolerance against the reference is that of a dot product,
// |error| <= 4 * eps * K * sum(|a||w|).
#pragma once

#include "../conv_s8/contract.h"

namespace glz {

struct ConvF32Args {
  ConvGeometry geometry;
  const float* input;
  const void* packed;
  Epilogue epilogue;
  void* workspace;
};

struct ConvF32Kernel {
  size_t (*packed_bytes)(const ConvGeometry&);
  void (*pack)(const ConvGeometry&, const float* weights, void* packed);  // [O][kh][kw][channels]
  size_t (*workspace_bytes)(const ConvGeometry&);
  int64_t panel;
  int64_t tile_rows;
  void (*run)(const ConvF32Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  int64_t (*limit)(int64_t rounds) = nullptr;  // see ConvS8Kernel
};

}  // namespace glz
