// Where a tap of a kernel window falls, in scalar code (static: see epilogue_scalar.h).
#pragma once

#include "conv_s8/contract.h"

namespace glz {

struct OutputPixel {
  int64_t n, oh, ow;
};

static inline OutputPixel output_pixel(const ConvGeometry& g, int64_t row) {
  return {row / (g.oh * g.ow), row / g.ow % g.oh, row % g.ow};
}

// Element offset of the input pixel under tap (i, j), or -1 outside the image.
static inline int64_t tap_offset(const ConvGeometry& g, const OutputPixel& p, int64_t i,
                                 int64_t j) {
  const int64_t ih = p.oh * g.sh - g.pad_top + i * g.dh;
  const int64_t iw = p.ow * g.sw - g.pad_left + j * g.dw;
  if (ih < 0 || ih >= g.h || iw < 0 || iw >= g.w) return -1;
  return ((p.n * g.h + ih) * g.w + iw) * g.stride_c;
}

}  // namespace glz
