// 512-bit vectors over the columns of the dense matrix; int8 in pairs of 16-bit integers.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"
//
#include "f32.inl.h"
#include "finish.inl.h"
#include "pairs.inl.h"
#include "run.inl.h"

}  // namespace

extern const SpmmKernel spmm_f32, spmm_s8;
const SpmmKernel spmm_f32 = {1, kTile, workspace_bytes, run<FloatKernel>};
const SpmmKernel spmm_s8 = {2, kTile, workspace_bytes, run<PairKernel>};

}  // namespace glz::avx512bw
