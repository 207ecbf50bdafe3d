// vpdpbusd on 256 bits: four u8 x s8 products added exactly to each int32 lane.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../implicit_gemm/cache.h"

namespace glz::avxvnni {
namespace {

#include "../implicit_gemm/simd256.inl.h"

struct Kernel {
#include "../implicit_gemm/stage_u8.inl.h"
  using Acc = __m256i;
  using Vec = __m256i;
  using Word = __m256i;
  static constexpr int kRows = 6, kVecs = 2;
  static constexpr int64_t kVecBytes = 32;

  static Acc start(const char* p) { return _mm256_loadu_si256((const __m256i*)p); }
  static Vec load(const char* p) { return _mm256_loadu_si256((const __m256i*)p); }
  static Word broadcast(const char* p) { return _mm256_set1_epi32(load_word(p)); }
  static Acc mul_add(Acc acc, Word a, Vec b) { return _mm256_dpbusd_avx_epi32(acc, a, b); }
};

#include "../implicit_gemm/implicit_gemm.inl.h"

}  // namespace

extern const ConvS8Kernel conv_s8;
const ConvS8Kernel conv_s8 = {packed_bytes,    pack, workspace_bytes, kPanel, Kernel::kRows,
                              run<ConvS8Args>, limit};

}  // namespace glz::avxvnni
