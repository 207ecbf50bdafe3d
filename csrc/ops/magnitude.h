// The largest magnitude of float32 values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace glz {

// Takes in values run by run. NaN counts as more than infinity.
class Magnitude {
 public:
  void take(const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      int32_t bits[kLanes];
      std::memcpy(bits, x + i, sizeof bits);
      for (int j = 0; j < kLanes; ++j) most_[j] = std::max(most_[j], bits[j] & 0x7fffffff);
    }
    for (; i < count; ++i) {
      int32_t bits;
      std::memcpy(&bits, x + i, sizeof bits);
      most_[0] = std::max(most_[0], bits & 0x7fffffff);
    }
  }

  float largest() const {
    const int32_t bits = *std::max_element(most_, most_ + kLanes);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

 private:
  static constexpr int kLanes = 16;
  // The magnitudes of finite floats, of infinity and of NaN are in this order as integers.
  int32_t most_[kLanes] = {};
};

}  // namespace glz
