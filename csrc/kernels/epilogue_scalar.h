// The epilogue of one number, in scalar code: the truth for the reference kernels, and the tails of
// the others. Everything is static: an ISA's file must not export what generic code could link to.
#pragma once

#include <cmath>
#include <cstdint>

#include "epilogue.h"
#include "layout.h"

namespace glz {

// NaN passes a clamp, as it does in NumPy and in maxps(lo, y).
static inline float clamp_between(float y, float lo, float hi) {
  y = y < lo ? lo : y;
  return y > hi ? hi : y;
}

// Ties to even; NaN, which no code can hold, becomes the lowest code.
static inline uint8_t stored_code(float y, ElementType type) {
  const float lowest = static_cast<float>(lowest_code(type));
  const float highest = static_cast<float>(highest_code(type));
  y = y > lowest ? y : lowest;
  y = y < highest ? y : highest;
  return static_cast<uint8_t>(static_cast<int>(std::nearbyint(y)) + zero_byte(type));
}

static inline float code_value(uint8_t stored, ElementType type) {
  return static_cast<float>(static_cast<int>(stored) - zero_byte(type));
}

static inline float activate(float y, bool leaky, float slope, float lo, float hi) {
  if (leaky) y = y < 0 ? y * slope : y;
  return clamp_between(y, lo, hi);
}

static inline float residual_value(const Epilogue& e, int64_t row, int64_t channel) {
  const int64_t i = row * e.residual_stride + channel;
  return holds_codes(e.residual_type)
             ? code_value(static_cast<const uint8_t*>(e.residual)[i], e.residual_type)
             : static_cast<const float*>(e.residual)[i];
}

template <typename Accumulator>
static inline float apply_epilogue(const Epilogue& e, int64_t row, int64_t channel,
                                   Accumulator acc) {
  float y = static_cast<float>(acc);
  if (e.multiplier != nullptr) y = y * e.multiplier[channel];
  if (e.bias != nullptr) y = y + e.bias[channel];
  if (e.residual != nullptr) y = y + residual_value(e, row, channel) * e.residual_multiplier;
  return activate(y, e.leaky, e.slope, e.lo, e.hi);
}

static inline void store_value(void* output, ElementType type, int64_t i, float y) {
  if (holds_codes(type)) {
    static_cast<uint8_t*>(output)[i] = stored_code(y, type);
  } else {
    static_cast<float*>(output)[i] = y;
  }
}

template <typename Accumulator>
static inline void store_epilogue(const Epilogue& e, int64_t row, int64_t channel,
                                  Accumulator acc) {
  const int64_t i = row * e.output_stride + channel;
  if (e.output_type == ElementType::kS32) {
    static_cast<int32_t*>(e.output)[i] = static_cast<int32_t>(acc);
  } else {
    store_value(e.output, e.output_type, i, apply_epilogue(e, row, channel, acc));
  }
}

}  // namespace glz
