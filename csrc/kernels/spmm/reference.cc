#include <algorithm>

#include "contract.h"

namespace glz::reference {
namespace {

template <typename Args>
void run(const Args& a, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    auto* y = a.y + row * a.n;
    std::fill_n(y, a.n, 0);
    for (int32_t i = a.row_begin[row]; i < a.row_begin[row + 1]; ++i) {
      const auto* x = a.x + a.columns[i] * a.n;
      for (int64_t j = 0; j < a.n; ++j) y[j] += a.values[i] * x[j];
    }
  }
}

}  // namespace

extern const SpmmKernel spmm = {run<SpmmF32Args>, run<SpmmS8Args>};

}  // namespace glz::reference
