// One broadcast weight times one input channel of 16 pixels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../vector/finish.inl.h"

struct Constants;

struct Kernel {
  using Args = ConvF32Args;
  using Weight = float;
  using Acc = __m512;
  static constexpr bool kInteger = false;
  static constexpr int64_t kChannels = 4;
  static constexpr uint32_t kPadWord = 0;

  static Acc zero() { return _mm512_setzero_ps(); }
  static Acc start(int32_t) { return zero(); }
  static Acc broadcast(uint32_t x) {
    return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int32_t>(x)));
  }
  static Acc load(const char* p) { return _mm512_load_ps(p); }
  static Acc load_acc(const char* p) { return _mm512_load_ps(p); }
  static void store_acc(char* p, Acc acc) { _mm512_store_ps(p, acc); }
  static Acc from_bits(__m512i x) { return _mm512_castsi512_ps(x); }
  static Acc add(Acc a, Acc b) { return _mm512_add_ps(a, b); }
  static Acc mul_add(Acc acc, Acc x, Acc w) { return _mm512_fmadd_ps(x, w, acc); }
  template <bool kResidual>
  static __m512i finish_word(const Constants& e, const char* sums, int64_t pitch, int64_t channel,
                             __m512i residual);
};

#include "../sparse_conv/run512.inl.h"

template <bool kResidual>
GLZ_INLINE __m512i Kernel::finish_word(const Constants& e, const char* sums, int64_t,
                                       int64_t channel, __m512i residual) {
  __m512 y = e.scaled(load_acc(sums), channel);
  if (kResidual) y = _mm512_fmadd_ps(_mm512_castsi512_ps(residual), e.factor, y);
  return _mm512_castps_si512(e.activated(y));
}

}  // namespace

extern const SparseF32Kernel sparse_f32;
const SparseF32Kernel sparse_f32 = {packed_bytes, pack, workspace_bytes, kPanel, kLanes, run, true};

}  // namespace glz::avx512bw
