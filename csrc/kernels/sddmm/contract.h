// Sampled dense times dense: out[i] = sum over n of a[row of i][n] * b[column of i][n], for the
// elements i of a matrix in compressed sparse rows. It is the gradient of a sparse product with
// respect to its values. float32, sums reordered and fused: |error| <= eps * (N + 1) * sum(|a||b|).
#pragma once

#include <cstdint>

namespace glz {

struct SddmmArgs {
  int64_t n;
  const int32_t* row_begin;  // [m + 1]
  const int32_t* columns;
  const float* a;  // [m][n]
  const float* b;  // [k][n]
  float* out;
};

struct SddmmKernel {
  void (*run)(const SddmmArgs&, int64_t row_begin, int64_t row_end);
};

}  // namespace glz
