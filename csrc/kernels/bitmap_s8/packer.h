// Makes the packed weights of packing.h; portable, at load time.
#pragma once

#include <vector>

#include "../../base/buffer.h"
#include "packing.h"

namespace glz {

// Words of four weights, each with a weight other than zero: all are counted, then put in the same
// order. The words of a channel have ascending places; channels may take turns.
class BitmapLayout {
 public:
  BitmapLayout(int64_t channels, int64_t inputs);

  void count(int64_t channel, uint32_t word, int64_t place);
  // When all are counted. `start`: of each channel's accumulators.
  void lay_out(const std::vector<int32_t>& start);
  void put(int64_t channel, uint32_t word, int64_t place);
  // When all are put.
  Buffer take();

 private:
  BitmapTarget target() { return {packed_.as<char>(), channels_, inputs_}; }

  const int64_t channels_, inputs_;
  std::vector<int64_t> next_;  // by channel: weights counted, then where the next goes
  Buffer packed_;
};

}  // namespace glz
