// Without VNNI: the bytes of a word become 16-bit words, even and odd channels apart, on which
// pmaddwd is exact.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avx2 {
namespace {

#include "../vector/vector256.inl.h"
//
#include "../sparse_conv/pixels256.inl.h"
#include "../sparse_conv/small.inl.h"
#include "../vector/finish.inl.h"
//
#include "kernel256.inl.h"

struct Kernel : Integer256 {
  struct Word {
    __m256i even, odd;
  };
  static int32_t pair(int low, int high) {
    return static_cast<int32_t>((static_cast<uint32_t>(high) << 16) | (low & 0xffff));
  }
  GLZ_INLINE static Word broadcast(uint32_t x) {
    int8_t w[4];
    memcpy(w, &x, sizeof w);
    return {_mm256_set1_epi32(pair(w[0], w[2])), _mm256_set1_epi32(pair(w[1], w[3]))};
  }
  static Small small_mul_add(Small acc, __m128i x, __m128i w) {
    const __m128i even = _mm_and_si128(x, _mm_set1_epi16(0xff)), odd = _mm_srli_epi16(x, 8);
    const __m128i even_w = _mm_srai_epi16(_mm_slli_epi16(w, 8), 8), odd_w = _mm_srai_epi16(w, 8);
    return _mm_add_epi32(acc,
                         _mm_add_epi32(_mm_madd_epi16(even, even_w), _mm_madd_epi16(odd, odd_w)));
  }
  static Acc mul_add(Acc acc, Acc x, const Word& w) {
    const __m256i even = _mm256_madd_epi16(Vector::low_bytes(x), w.even);
    const __m256i odd = _mm256_madd_epi16(Vector::high_bytes(x), w.odd);
    return add(acc, add(even, odd));
  }
};

#include "../sparse_conv/run.inl.h"

}  // namespace

extern const SparseS8Kernel sparse_s8;
const SparseS8Kernel sparse_s8 = {workspace_bytes, kSparseBlock, kTileRows, kLanes, run, true};

}  // namespace glz::avx2
