// vpmaddubsw: n has at most 4 bits, so a block's sums of 16 bits (up to 2 * 2 * 255 * 15) are
// exact.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "packing.h"

namespace glz::avx2 {
namespace {

#include "../vector/vector256.inl.h"
//
#include "../vector/finish.inl.h"

struct Few {
  using Vec = __m256i;
  using Block = Vec;
  static constexpr int kParts = 2, kRows = 4;
  static Vec zero() { return _mm256_setzero_si256(); }
  static Vec load(const uint8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Vec unpack(Vec v, int bit, int mask) {
    return _mm256_and_si256(_mm256_srli_epi16(v, bit), _mm256_set1_epi8(static_cast<char>(mask)));
  }
  static Vec broadcast(const uint8_t* p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm256_set1_epi32(word);
  }
  static Vec sum(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  static Vec broadcast_sum(int32_t x) { return _mm256_set1_epi32(x); }
  static Vec load_sums(const int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Block begin(Vec) { return zero(); }
  static Block add(Block block, Vec x, Vec n) {
    return _mm256_add_epi16(block, _mm256_maddubs_epi16(x, n));
  }
  static Vec end(Vec acc, Block block) {
    return sum(acc, _mm256_madd_epi16(block, _mm256_set1_epi16(1)));
  }
};

#include "run.inl.h"

}  // namespace

extern const DenseLowBitsKernel dense_low_bits;
const DenseLowBitsKernel dense_low_bits = {kLowBitsPanel, Few::kRows, workspace_bytes, run, 16};

}  // namespace glz::avx2
