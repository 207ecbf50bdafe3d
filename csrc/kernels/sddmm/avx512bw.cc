// 512-bit vectors along the rows.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"
//
#include "sddmm.inl.h"

}  // namespace

extern const SddmmKernel sddmm;
const SddmmKernel sddmm = {run};

}  // namespace glz::avx512bw
