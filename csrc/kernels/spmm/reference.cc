#include <algorithm>
#include <cmath>
#include <cstring>

#include "contract.h"

namespace glz::reference {
namespace {

template <typename Value, typename Sum>
struct Reference {
  static constexpr int64_t kPerWord = 4 / sizeof(Value);

  static Sum sum(const SpmmArgs& a, int64_t row, int64_t column) {
    const SpmmPacked& s = a.s;
    Sum sum = 0;
    for (int64_t slice = 0; slice < s.slices; ++slice) {
      for (int32_t i = s.begin[slice * s.m + row]; i < s.begin[slice * s.m + row + 1]; ++i) {
        if (s.words[i] == 0) continue;  // a filler
        Value values[kPerWord];
        std::memcpy(values, &s.words[i], sizeof values);
        const int64_t first = (slice * s.slice + s.index[i]) * kPerWord;
        for (int64_t at = 0; at < std::min(kPerWord, a.k - first); ++at) {
          const Value x =
              static_cast<const Value*>(a.x)[(first + at) * a.x_row + column * a.x_column];
          sum += static_cast<Sum>(values[at]) * static_cast<Sum>(x);
        }
      }
    }
    return sum;
  }

  static void store(const SpmmArgs& a, int64_t row, int64_t column, Sum sum) {
    const int64_t at = row * a.y_row + column * a.y_column;
    if (a.output == SpmmOutput::kSum) {
      static_cast<Sum*>(a.y)[at] = sum;
      return;
    }
    float y = static_cast<float>(sum);
    if (a.multiplier != nullptr) y *= a.multiplier[row];
    if (a.bias != nullptr) y += a.bias[row];
    if (y < a.lo) y = a.lo;
    if (y > a.hi) y = a.hi;
    if (a.output == SpmmOutput::kFloat) {
      static_cast<float*>(a.y)[at] = y;
    } else {
      static_cast<int8_t*>(a.y)[at] =
          y >= -127.0f ? static_cast<int8_t>(std::nearbyint(std::min(y, 127.0f))) : int8_t{-127};
    }
  }

  static void run(const SpmmArgs& a, int64_t row_begin, int64_t row_end, int64_t column_begin,
                  int64_t column_end) {
    for (int64_t row = row_begin; row < row_end; ++row) {
      for (int64_t c = column_begin; c < column_end; ++c) store(a, row, c, sum(a, row, c));
    }
  }
};

size_t no_workspace(const SpmmArgs&) { return 0; }

}  // namespace

extern const SpmmKernel spmm_f32 = {1, 64, no_workspace, Reference<float, float>::run};
extern const SpmmKernel spmm_s8 = {4, 64, no_workspace, Reference<int8_t, int32_t>::run};

}  // namespace glz::reference
