// Sparse matrix times dense matrix: Y[M,N] = S[M,K] X[K,N].
//
// S is packed in words of 32 bits, each `per_word` neighbours of a row: one float, or two int8
// as 16-bit integers, or four int8. Its depth of ceil(K / per_word) words is cut into slices,
// so that the part of X that is in use stays in a near cache. What is computed of a sum s:
//
//   kSum    s, exact int32 or float32
//   kFloat  y = clamp(float(s) * multiplier[row] + bias[row], lo, hi)   two roundings, not fused
//   kCode   rint(clamp(y, -127, 127)) as int8, ties to even, NaN: -127
//
// Sums of float32 may be reordered and fused: |error| <= eps * (K + 1) * sum(|s||x|).
#pragma once

#include <cstddef>
#include <cstdint>

namespace glz {

// A row's words in a slice are filled up to groups with words of zero whose index is `slice`, where
// kernels keep zeros: how often a loop ends cannot be foreseen, so it should end in one place.
constexpr int kSpmmGroup = 4;

struct SpmmPacked {
  int64_t m;
  int64_t depth;          // words of a row, absent ones too
  int64_t slice, slices;  // words in a slice, at most 65,535
  const int32_t* begin;   // [slices * m + 1], slice by slice, row by row; in groups
  const int32_t* sums;    // [m] of an int8 row's values
  const uint32_t* words;  // those that are not zero, and fillers
  const uint16_t* index;  // of each word, its place in the slice
};

enum class SpmmOutput : uint8_t { kSum, kFloat, kCode };

struct SpmmArgs {
  SpmmPacked s;
  int64_t n, k;
  const void* x;  // float or int8; element (k, n) is at k * x_row + n * x_column
  int64_t x_row, x_column;
  void* y;  // likewise
  int64_t y_row, y_column;
  SpmmOutput output;
  const float* multiplier;  // [m]; null: 1
  const float* bias;        // [m]; null: 0
  float lo, hi;
  void* workspace;  // 64-byte aligned, of this thread's own
};

struct SpmmKernel {
  int64_t per_word;
  int64_t columns;  // of X that are computed together, at most
  size_t (*workspace_bytes)(const SpmmArgs&);
  void (*run)(const SpmmArgs&, int64_t row_begin, int64_t row_end, int64_t column_begin,
              int64_t column_end);
};

}  // namespace glz
