// vpdpbusd: one broadcast block of four weights times four input channels of 16 pixels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avx512vnni {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../sparse_conv/pixels512.inl.h"
#include "../sparse_conv/small.inl.h"
#include "../vector/finish.inl.h"

struct Kernel : SmallIntegers {
  using Args = SparseS8Args;
  using Weight = int8_t;
  using Acc = __m512i;
  using Word = __m512i;
  static constexpr bool kInteger = true;

  static Acc zero() { return _mm512_setzero_si512(); }
  static Acc start(int32_t x) { return _mm512_set1_epi32(x); }
  static Acc from_bits(__m512i x) { return x; }
  static Acc load(const char* p) { return _mm512_load_si512(p); }
  static Acc add(Acc a, Acc b) { return _mm512_add_epi32(a, b); }
  GLZ_INLINE static Word broadcast(uint32_t x) {
    Word w = _mm512_set1_epi32(static_cast<int32_t>(x));
    asm("" : "+v"(w));  // or else it is broadcast from memory for each vector
    return w;
  }
  static Small small_mul_add(Small acc, __m128i x, __m128i w) {
    return _mm_dpbusd_epi32(acc, x, w);
  }
  static Acc mul_add(Acc acc, Acc x, Word w) { return _mm512_dpbusd_epi32(acc, x, w); }
};

#include "../sparse_conv/run.inl.h"

}  // namespace

extern const SparseS8Kernel sparse_s8;
const SparseS8Kernel sparse_s8 = {workspace_bytes, kSparseBlock, kTileRows, kLanes, run, true};

}  // namespace glz::avx512vnni
