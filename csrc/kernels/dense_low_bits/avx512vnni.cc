// vpdpbusd: four u8 x s8 products added exactly to each int32 lane.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

#include "packing.h"

namespace glz::avx512vnni {
namespace {

#include "../vector/vector512.inl.h"
//
#include "../vector/finish.inl.h"
#include "few512.inl.h"

struct Few : Few512 {
  using Block = Vec;
  static Block begin(Vec acc) { return acc; }
  static Block add(Block block, Vec x, Vec n) { return _mm512_dpbusd_epi32(block, x, n); }
  static Vec end(Vec, Block block) { return block; }
};

#include "run.inl.h"

}  // namespace

extern const DenseLowBitsKernel dense_low_bits;
const DenseLowBitsKernel dense_low_bits = {kLowBitsPanel, Few::kRows, workspace_bytes, run, 16};

}  // namespace glz::avx512vnni
