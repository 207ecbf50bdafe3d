// Sparse matrix times dense matrix: Y[M,N] = S[M,K] X[K,N], S in compressed sparse rows.
#pragma once

#include <cstdint>

namespace glz {

struct SpmmF32Args {
  int64_t m, n, k;
  const int32_t* row_begin;  // [m + 1]
  const int32_t* columns;    // ascending within a row
  const float* values;
  const float* x;  // row-major [k][n]
  float* y;        // row-major [m][n]
};
struct SpmmS8Args {
  int64_t m, n, k;
  const int32_t* row_begin;
  const int32_t* columns;
  const int8_t* values;
  const int8_t* x;
  int32_t* y;  // exact
};

struct SpmmKernel {
  void (*run_f32)(const SpmmF32Args&, int64_t row_begin, int64_t row_end);
  void (*run_s8)(const SpmmS8Args&, int64_t row_begin, int64_t row_end);
};

}  // namespace glz
