// vpmaddwd: two s16 x s16 products added exactly to each int32 lane; weights widen as they are
// loaded.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../implicit_gemm/cache.h"

namespace glz::avx2 {
namespace {

#include "../implicit_gemm/simd256.inl.h"

struct Kernel {
#include "../implicit_gemm/stage_s16.inl.h"
  using Acc = __m256i;
  using Vec = __m256i;
  using Word = __m256i;
  static constexpr int kRows = 6, kVecs = 2;
  static constexpr int64_t kVecBytes = 16;

  static Acc start(const char*) { return _mm256_setzero_si256(); }
  static Vec load(const char* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)p));
  }
  static Word broadcast(const char* p) { return _mm256_set1_epi32(load_word(p)); }
  static Acc mul_add(Acc acc, Word a, Vec b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
  }
};

#include "../implicit_gemm/implicit_gemm.inl.h"

}  // namespace

extern const ConvS8Kernel conv_s8;
const ConvS8Kernel conv_s8 = {packed_bytes,    pack, workspace_bytes, kPanel, Kernel::kRows,
                              run<ConvS8Args>, limit};

}  // namespace glz::avx2
