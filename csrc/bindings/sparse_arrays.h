// The arrays of sparse products, checked: shared by the bindings of sparse.cc and sparse_bitmap.cc.
#pragma once

#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

#include "../kernels/spmm/packing.h"
#include "dense_product.h"

namespace glz {

constexpr int64_t kMaxElements = int64_t{1} << 31;
constexpr double kCyclesOfATask = 20000.0;

inline void check_rows(const Array<int32_t>& row_begin, const Array<int32_t>& columns,
                       int64_t values, int64_t k) {
  GLZ_CHECK(row_begin.ndim() == 1 && row_begin.size() >= 1 && columns.ndim() == 1, kShape,
            "sparse matrix: row offsets and columns must have one axis, and there must be offsets");
  const int64_t m = row_begin.size() - 1, count = columns.size();
  const int32_t *begin = row_begin.data(), *column = columns.data();
  GLZ_CHECK(begin[0] == 0 && begin[m] == count && values == count, kData,
            "sparse matrix: the row offsets must run from 0 to the number of values");
  for (int64_t row = 0; row < m; ++row) {
    GLZ_CHECK(begin[row] <= begin[row + 1] && begin[row + 1] <= count, kData,
              "sparse matrix: the row offsets fall at row " << row);
    for (int64_t i = begin[row]; i < begin[row + 1]; ++i) {
      const int64_t least = i > begin[row] ? column[i - 1] + int64_t{1} : 0;
      GLZ_CHECK(column[i] >= least && column[i] < k, kData,
                "sparse matrix: column " << column[i] << " of row " << row << " is out of place");
    }
  }
}

// 128 * |values| of each row must fit an int32 sum.
inline void check_sums(const Array<int32_t>& row_begin, const Array<int8_t>& values) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 128;
  const int8_t* value = values.data();
  for (int64_t row = 0; row + 1 < row_begin.size(); ++row) {
    int64_t sum = 0;
    for (int64_t i = row_begin.at(row); i < row_begin.at(row + 1); ++i) sum += std::abs(value[i]);
    GLZ_CHECK(sum <= kMost, kUnsupported,
              "spmm_s8: the values of row " << row << " add up to " << sum
                                            << " in magnitude, and a sum of products may not fit "
                                            << "int32; at most " << kMost << " does");
  }
}
inline void check_sums(const Array<int32_t>&, const Array<float>&) {}

struct Operand {
  const void* data;
  int64_t k, n, row, column;  // sizes and elements between rows and columns
};

// One of the strides must be an element's, which gluonzip.runtime.operators sees to.
template <typename Value>
Operand operand(const pybind11::array& x, int64_t k) {
  GLZ_CHECK(pybind11::isinstance<pybind11::array_t<Value>>(x) && x.ndim() == 2 && x.shape(0) == k,
            kShape,
            "spmm: x must be a matrix of " << k << " rows and of the sparse matrix's dtype");
  const int64_t size = sizeof(Value), n = x.shape(1);
  Operand to = {x.data(), k, n, x.strides(0) / size, x.strides(1) / size};
  const bool whole = x.strides(0) % size == 0 && x.strides(1) % size == 0;
  const bool rows = n <= 1 || x.strides(1) == size, columns = k <= 1 || x.strides(0) == size;
  GLZ_CHECK(whole && (rows || columns), kShape, "spmm: x must be contiguous along an axis");
  if (n <= 1) to.column = k;
  if (k <= 1) to.row = n;
  if (n <= 1 && columns) to.row = 1;
  return to;
}

using Floats = std::optional<Array<float>>;

inline const float* of_rows(const Floats& values, int64_t m, const char* name) {
  if (!values) return nullptr;
  GLZ_CHECK(values->ndim() == 1 && values->size() == m, kShape,
            "spmm: " << name << " must have " << m << " elements, one a row");
  return values->data();
}

inline void check_output(int64_t m, int64_t n) {
  int64_t elements;
  GLZ_CHECK(checked_mul(m, n, &elements) && elements <= kMaxElements, kUnsupported,
            "spmm: the product (" << m << ", " << n << ") has more than 2^31 elements");
}

// A new (m, n) array; transposed: in memory (n, m).
inline pybind11::array make_output(const std::string& type, int64_t m, int64_t n, bool transposed) {
  const auto make = [&](auto value) -> pybind11::array {
    using T = decltype(value);
    const auto size = static_cast<pybind11::ssize_t>(sizeof(T));
    const pybind11::ssize_t row = transposed ? size : size * n,
                            column = transposed ? size * m : size;
    return pybind11::array_t<T>({m, n}, {row, column});
  };
  if (type == "int32") return make(int32_t{});
  if (type == "int8") return make(int8_t{});
  return make(float{});
}

}  // namespace glz
