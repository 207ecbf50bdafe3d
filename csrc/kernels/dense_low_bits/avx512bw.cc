// vpmaddubsw: n has at most 4 bits, so a block's sums of 16 bits (up to 2 * 2 * 255 * 15) are
// exact.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "packing.h"

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../vector/finish.inl.h"
#include "few512.inl.h"

struct Few : Few512 {
  using Block = Vec;
  static Block begin(Vec) { return zero(); }
  static Block add(Block block, Vec x, Vec n) {
    return _mm512_add_epi16(block, _mm512_maddubs_epi16(x, n));
  }
  static Vec end(Vec acc, Block block) {
    return sum(acc, _mm512_madd_epi16(block, _mm512_set1_epi16(1)));
  }
};

#include "run.inl.h"

}  // namespace

extern const DenseLowBitsKernel dense_low_bits;
const DenseLowBitsKernel dense_low_bits = {kLowBitsPanel, Few::kRows, workspace_bytes, run, 16};

}  // namespace glz::avx512bw
