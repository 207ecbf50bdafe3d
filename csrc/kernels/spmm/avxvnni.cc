// vpdpbusd on 256-bit vectors: four int8 of a column a lane.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avxvnni {
namespace {

#include "../vector/vector256.inl.h"
//
#include "finish.inl.h"
#include "run.inl.h"

struct Dot {
  static __m256i add(__m256i acc, __m256i x, __m256i w) {
    return _mm256_dpbusd_avx_epi32(acc, x, w);
  }
  static __m128i add(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_avx_epi32(acc, x, w); }
};

#include "fours.inl.h"

}  // namespace

extern const SpmmKernel spmm_s8;
const SpmmKernel spmm_s8 = {4, kTile, workspace_bytes, run<FourKernel>};

}  // namespace glz::avxvnni
