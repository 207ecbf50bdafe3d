// 256-bit vectors along the rows.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx2 {
namespace {

#include "../vector/vector256.inl.h"
//
#include "sddmm.inl.h"

}  // namespace

extern const SddmmKernel sddmm;
const SddmmKernel sddmm = {run};

}  // namespace glz::avx2
