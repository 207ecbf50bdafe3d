// vpdpbusd on 512-bit vectors: four int8 of a column a lane.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512vnni {
namespace {

#include "../vector/vector512.inl.h"
//
#include "finish.inl.h"
#include "run.inl.h"

struct Dot {
  static __m512i add(__m512i acc, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(acc, x, w); }
  static __m128i add(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_epi32(acc, x, w); }
};

#include "fours.inl.h"

}  // namespace

extern const SpmmKernel spmm_s8;
const SpmmKernel spmm_s8 = {4, kTile, workspace_bytes, run<FourKernel>};

}  // namespace glz::avx512vnni
