// What happens to an accumulator while it is in registers. Mirrors gluonzip/graph/ops.py:
//
//   y = float(acc) * multiplier[c] + bias[c]          two roundings, never a fused multiply-add
//   y = y + float(residual) * residual_multiplier     likewise
//   y = y < 0 ? y * slope : y                         only if leaky
//   y = min(max(y, lo), hi)
//   output f32: y      output codes: rint(clamp(y, lowest_code, highest_code)), ties to even
//
// All factors are already in units of the output step (prepared in double, see ops/epilogue.h).
// For float32 kernels the accumulator is a float, multiplier is null (1) and the sum may use FMA.
#pragma once

#include <cstdint>
#include <limits>

#include "layout.h"

namespace glz {

struct Epilogue {
  const float* multiplier = nullptr;  // one a channel, readable up to the next multiple of 64
  const float* bias = nullptr;        // likewise; never null for conv_s8
  const void* residual = nullptr;     // same row and channel as the output; null: none
  ElementType residual_type = ElementType::kF32;
  int64_t residual_stride = 0;  // elements between rows
  float residual_multiplier = 1.0f;
  bool leaky = false;
  float slope = 0.0f;
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();
  void* output = nullptr;
  ElementType output_type = ElementType::kF32;  // kS32: the raw accumulator, nothing else applied
  int64_t output_stride = 0;                    // elements between rows
};

}  // namespace glz
