// One broadcast weight times one input channel of 8 pixels.
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

struct Kernel : SmallFloats {
  using Args = SparseF32Args;
  using Weight = float;
  using Acc = __m256;
  using Word = __m256;
  static constexpr bool kInteger = false;

  static Acc zero() { return _mm256_setzero_ps(); }
  static Acc start(int32_t) { return zero(); }
  static Acc from_bits(__m256i x) { return _mm256_castsi256_ps(x); }
  static Acc load(const char* p) { return _mm256_load_ps(reinterpret_cast<const float*>(p)); }
  static Acc add(Acc a, Acc b) { return _mm256_add_ps(a, b); }
  GLZ_INLINE static Word broadcast(uint32_t x) {
    Word w = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int32_t>(x)));
    asm("" : "+x"(w));  // or else it is broadcast from memory for each vector
    return w;
  }
  static Acc mul_add(Acc acc, Acc x, Word w) { return _mm256_fmadd_ps(x, w, acc); }
};

#include "../sparse_conv/run.inl.h"

}  // namespace

extern const SparseF32Kernel sparse_f32;
const SparseF32Kernel sparse_f32 = {workspace_bytes, kSparseBlock, kTileRows, kLanes, run, true};

}  // namespace glz::avx2
