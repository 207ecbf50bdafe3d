// From compressed sparse rows to the words of contract.h; portable, at load time.
#pragma once

#include <cstdint>
#include <vector>

#include "../../base/buffer.h"
#include "contract.h"

namespace glz {

struct SpmmMatrix {
  SpmmPacked view{};
  std::vector<int32_t> begin, sums;
  Buffer words, index;

  int64_t bytes() const;
};

// Compressed sparse rows that were checked: offsets rise from 0, columns ascend and are below k.
template <typename Value>
struct SpmmRows {
  int64_t m, k;
  const int32_t* row_begin;  // [m + 1]
  const int32_t* columns;
  const Value* values;
};

// `one_column`: for products of one column only, which are not cut; `columns`: of the kernel.
SpmmMatrix spmm_pack(const SpmmRows<float>& rows, int64_t per_word, int64_t columns,
                     bool one_column);
SpmmMatrix spmm_pack(const SpmmRows<int8_t>& rows, int64_t per_word, int64_t columns,
                     bool one_column);

// For products of one column with bytes that are 128 more than their values: ../bitmap_s8.
Buffer spmm_bitmap(const SpmmRows<int8_t>& rows);

}  // namespace glz
