// Convolution and matrix product as one implicit GEMM, shared by every ISA and element type.
// Included inside the anonymous namespace of an ISA file, after Simd and a struct Kernel:
//
//   Input, Staged, Weight   element types: of the input, of its copy in the workspace, of weights
//   Acc, Vec, Word          one vector of accumulators; of weights; of one broadcast input word
//   kRows, kVecs            register tile: output pixels x vectors of output channels
//   kWordElems              staged elements in a 32-bit word, the unit of depth
//   kVecBytes               packed bytes of one vector's weights for one word
//   kInteger                accumulators are int32, with a multiplier for each channel
//   kAlwaysStage            the micro-kernel reads Staged elements, which the input is not
//   kCompensated            a panel starts with its accumulators' start values
//   pad                     a Staged zero, of the input's zero byte
//   start, load, broadcast, mul_add; stage, stage_short: see stage_u8.inl.h
//
// A panel is kVecs vectors of output channels. Its depth is `runs_h` x `runs_w` runs of `words`
// words: runs of consecutive bytes, whose place in memory differs by row and tap only.

#define GLZ_INLINE inline __attribute__((always_inline))

constexpr int64_t kPanel = int64_t{Kernel::kVecs} * Simd::kLanes;
constexpr int64_t kPrefetch = 2048;  // bytes of weights ahead of use

GLZ_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
GLZ_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
GLZ_INLINE int64_t parts(int64_t value, int64_t by) { return (value + by - 1) / by; }
GLZ_INLINE int64_t aligned(int64_t bytes) { return parts(bytes, 64) * 64; }

// In order of use.
// clang-format off
#include "plan.inl.h"
#include "pack.inl.h"
#include "stage.inl.h"
#include "finish.inl.h"
#include "tile.inl.h"
#include "run.inl.h"
#include "limit.inl.h"
// clang-format on
