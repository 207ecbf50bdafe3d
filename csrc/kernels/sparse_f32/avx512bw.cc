// One broadcast weight times one input channel of 16 pixels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../sparse_conv/pixels512.inl.h"
#include "../sparse_conv/small.inl.h"
#include "../vector/finish.inl.h"

struct Kernel : SmallFloats {
  using Args = SparseF32Args;
  using Weight = float;
  using Acc = __m512;
  using Word = __m512;
  static constexpr bool kInteger = false;

  static Acc zero() { return _mm512_setzero_ps(); }
  static Acc start(int32_t) { return zero(); }
  static Acc from_bits(__m512i x) { return _mm512_castsi512_ps(x); }
  static Acc load(const char* p) { return _mm512_load_ps(p); }
  static Acc add(Acc a, Acc b) { return _mm512_add_ps(a, b); }
  GLZ_INLINE static Word broadcast(uint32_t x) {
    Word w = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(x)));
    asm("" : "+v"(w));  // or else it is broadcast from memory for each vector
    return w;
  }
  static Acc mul_add(Acc acc, Acc x, Word w) { return _mm512_fmadd_ps(x, w, acc); }
};

#include "../sparse_conv/run.inl.h"

}  // namespace

extern const SparseF32Kernel sparse_f32;
const SparseF32Kernel sparse_f32 = {workspace_bytes, kSparseBlock, kTileRows, kLanes, run, true};

}  // namespace glz::avx512bw
