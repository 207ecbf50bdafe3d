// Fused multiply-adds of 16 float32 lanes; also what avx512vnni inherits.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "../implicit_gemm/cache.h"

namespace glz::avx512bw {
namespace {

#include "../implicit_gemm/simd512.inl.h"

struct Kernel {
#include "../implicit_gemm/stage_f32.inl.h"
  using Acc = __m512;
  using Vec = __m512;
  using Word = __m512;
  static constexpr int kRows = 6, kVecs = 4;
  static constexpr int64_t kVecBytes = 64;

  static Acc start(const char*) { return _mm512_setzero_ps(); }
  static Vec load(const char* p) { return _mm512_loadu_ps(reinterpret_cast<const float*>(p)); }
  static Word broadcast(const char* p) { return _mm512_set1_ps(load_word(p)); }
  static Acc mul_add(Acc acc, Word a, Vec b) { return _mm512_fmadd_ps(a, b, acc); }
};

#include "../implicit_gemm/implicit_gemm.inl.h"

}  // namespace

extern const ConvF32Kernel conv_f32;
const ConvF32Kernel conv_f32 = {packed_bytes,     pack, workspace_bytes, kPanel, Kernel::kRows,
                                run<ConvF32Args>, limit};

}  // namespace glz::avx512bw
