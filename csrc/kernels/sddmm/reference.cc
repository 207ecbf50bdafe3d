#include "contract.h"

namespace glz::reference {
namespace {

void run(const SddmmArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int32_t i = args.row_begin[row]; i < args.row_begin[row + 1]; ++i) {
      const float* a = args.a + row * args.n;
      const float* b = args.b + args.columns[i] * args.n;
      float sum = 0.0f;
      for (int64_t j = 0; j < args.n; ++j) sum += a[j] * b[j];
      args.out[i] = sum;
    }
  }
}

}  // namespace

extern const SddmmKernel sddmm = {run};

}  // namespace glz::reference
