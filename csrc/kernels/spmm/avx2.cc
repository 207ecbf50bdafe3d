// 256-bit vectors over the columns of the dense matrix.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx2 {
namespace {

#include "../vector/vector256.inl.h"

#include "spmm.inl.h"

}  // namespace

extern const SpmmKernel spmm;
const SpmmKernel spmm = {run_f32, run_s8};

}  // namespace glz::avx2
