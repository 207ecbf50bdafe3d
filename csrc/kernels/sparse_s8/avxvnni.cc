// vpdpbusd: one broadcast block of four weights times four input channels of 8 pixels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avxvnni {
namespace {

#include "../vector/vector256.inl.h"
//
#include "../sparse_conv/pixels256.inl.h"
#include "../sparse_conv/small.inl.h"
#include "../vector/finish.inl.h"
//
#include "kernel256.inl.h"

struct Kernel : Integer256 {
  using Word = __m256i;
  GLZ_INLINE static Word broadcast(uint32_t x) {
    Word w = _mm256_set1_epi32(static_cast<int32_t>(x));
    asm("" : "+x"(w));  // or else it is broadcast from memory for each vector
    return w;
  }
  static Small small_mul_add(Small acc, __m128i x, __m128i w) {
    return _mm_dpbusd_avx_epi32(acc, x, w);
  }
  static Acc mul_add(Acc acc, Acc x, Word w) { return _mm256_dpbusd_avx_epi32(acc, x, w); }
};

#include "../sparse_conv/run.inl.h"

}  // namespace

extern const SparseS8Kernel sparse_s8;
const SparseS8Kernel sparse_s8 = {workspace_bytes, kSparseBlock, kTileRows, kLanes, run, true};

}  // namespace glz::avxvnni
