// vpdpbusd: four u8 x s8 products added exactly to each int32 lane.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../implicit_gemm/cache.h"

namespace glz::avx512vnni {
namespace {

#include "../implicit_gemm/simd512.inl.h"

struct Kernel {
#include "../implicit_gemm/stage_u8.inl.h"
  using Acc = __m512i;
  using Vec = __m512i;
  using Word = __m512i;
  static constexpr int kRows = 6, kVecs = 4;
  static constexpr int64_t kVecBytes = 64;

  static Acc start(const char* p) { return _mm512_loadu_si512(p); }
  static Vec load(const char* p) { return _mm512_loadu_si512(p); }
  static Word broadcast(const char* p) { return _mm512_set1_epi32(load_word(p)); }
  static Acc mul_add(Acc acc, Word a, Vec b) { return _mm512_dpbusd_epi32(acc, a, b); }
};

#include "../implicit_gemm/implicit_gemm.inl.h"

}  // namespace

extern const ConvS8Kernel conv_s8;
const ConvS8Kernel conv_s8 = {packed_bytes,    pack, workspace_bytes, kPanel, Kernel::kRows,
                              run<ConvS8Args>, limit};

}  // namespace glz::avx512vnni
