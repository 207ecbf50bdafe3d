// 512-bit vectors over channels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"

#include "pool.inl.h"

}  // namespace

extern const PoolKernel pool;
const PoolKernel pool = {pool_rows<MaxBytes>, pool_rows<MaxFloats>, pool_rows<SumBytes>,
                         pool_rows<SumFloats>};

}  // namespace glz::avx512bw
