// vpdpbusd: one broadcast block of four weights times four input channels of 16
// pixels.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../sparse_conv/packing.h"

namespace glz::avx512vnni {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../vector/finish.inl.h"

struct Constants;

struct Kernel {
  using Args = ConvS8Args;
  using Weight = int8_t;
  using Acc = __m512i;
  static constexpr bool kInteger = true;
  static constexpr int64_t kChannels = 16;
  static constexpr uint32_t kPadWord = 0x80808080u;

  static Acc zero() { return _mm512_setzero_si512(); }
  static Acc start(int32_t x) { return _mm512_set1_epi32(x); }
  static Acc broadcast(uint32_t x) { return _mm512_set1_epi32(static_cast<int32_t>(x)); }
  static Acc load(const char* p) { return _mm512_load_si512(p); }
  static Acc load_acc(const char* p) { return _mm512_load_si512(p); }
  static void store_acc(char* p, Acc acc) { _mm512_store_si512(p, acc); }
  static Acc from_bits(__m512i x) { return x; }
  static Acc add(Acc a, Acc b) { return _mm512_add_epi32(a, b); }
  static Acc mul_add(Acc acc, Acc x, Acc w) { return _mm512_dpbusd_epi32(acc, x, w); }
  // Four output channels of 16 pixels, as the bytes of a word.
  template <bool kResidual>
  static __m512i finish_word(const Constants& e, const char* sums, int64_t pitch, int64_t channel,
                             __m512i residual);
};

#include "../sparse_conv/run512.inl.h"

template <bool kResidual>
GLZ_INLINE __m512i Kernel::finish_word(const Constants& e, const char* sums, int64_t pitch,
                                       int64_t channel, __m512i residual) {
  __m512i q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    __m512 y = e.scaled(load_acc(sums + i * pitch), channel + i);
    if (kResidual) {
      const __m512i code =
          _mm512_and_si512(_mm512_srli_epi32(residual, 8 * i), _mm512_set1_epi32(255));
      // float(code) * factor, in one rounding as the factor times 128 is exact.
      y = _mm512_add_ps(y, _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), e.factor, e.offset));
    }
    // NaN, which becomes the least int32, counts as the lowest code.
    q[i] = _mm512_max_epi32(_mm512_cvtps_epi32(e.activated(y)), _mm512_set1_epi32(-kMaxCode));
  }
  __m512i word = _mm512_mask_mov_epi8(q[0], 0x2222222222222222u, _mm512_slli_epi32(q[1], 8));
  word = _mm512_mask_mov_epi8(word, 0x4444444444444444u, _mm512_slli_epi32(q[2], 16));
  word = _mm512_mask_mov_epi8(word, 0x8888888888888888u, _mm512_slli_epi32(q[3], 24));
  return _mm512_xor_si512(word, _mm512_set1_epi8(-128));
}

}  // namespace

extern const SparseS8Kernel sparse_s8;
const SparseS8Kernel sparse_s8 = {packed_bytes, pack, workspace_bytes, kPanel, kLanes, run, true};

}  // namespace glz::avx512vnni
