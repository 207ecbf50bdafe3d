// Max and average pooling over pixels x channels (layout.h). A window without any cell inside the
// image gives the lowest value, or an average of 0. Channels are independent: to split the work of
// a large window with few output rows, offset input and output and set geometry.channels to a part.
#pragma once

#include "../conv_s8/contract.h"
#include "../layout.h"

namespace glz {

struct PoolArgs {
  ConvGeometry
      geometry;  // out_channels = channels; windows may hang over the bottom and right (ceil mode)
  int64_t pad_bottom, pad_right;  // as declared: count_pad counts cells up to here, not past it
  bool count_pad;                 // average: padding counts in the divisor
  const void* input;
  void* output;
  int64_t output_stride;
  // Average of float32: sum / count, output f32. Average of int8: y = float(sum of codes) * (factor
  // / count), one float32 division then one multiplication; codes out: as epilogue.h (clamp, rint);
  // f32 output: y.
  float factor;
  ElementType output_type;
};

// Each computes output image rows [begin, end) of n * oh.
struct PoolKernel {
  void (*max_u8)(const PoolArgs&, int64_t begin, int64_t end);  // stored bytes compare as codes do
  void (*max_f32)(const PoolArgs&, int64_t begin, int64_t end);
  void (*avg_u8)(const PoolArgs&, int64_t begin, int64_t end);
  void (*avg_f32)(const PoolArgs&, int64_t begin, int64_t end);
};

}  // namespace glz
