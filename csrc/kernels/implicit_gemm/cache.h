// Data cache sizes of one core, which decide how the implicit GEMM is blocked.
#pragma once

#include <cstdint>

namespace glz {

struct CacheSizes {
  int64_t l1, l2;  // bytes
};

// Asked of the operating system once; common sizes where it does not say.
const CacheSizes& cache_sizes();

}  // namespace glz
