// 256-bit vectors, 16-bit products.
#include "contract.h"

#include "../grouped/contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx2 {
namespace {

namespace wide {
#include "../vector/vector256.inl.h"
#include "dot_s16.inl.h"
#include "s8.inl.h"
// In its blocks and lanes.
#include "../grouped/grouped.inl.h"
}  // namespace wide
namespace half = wide;

#include "run_s8.inl.h"
// Likewise.
#include "../grouped/run.inl.h"

namespace f32 {
#include "../vector/vector256.inl.h"
#include "f32.inl.h"
}  // namespace f32

}  // namespace

extern const DepthwiseS8Kernel depthwise_s8;
const DepthwiseS8Kernel depthwise_s8 = {packed_bytes_s8, pack_s8, run_s8};

extern const GroupedS8Kernel grouped_s8;
const GroupedS8Kernel grouped_s8 = {packed_bytes_grouped, pack_grouped, run_grouped, 8};

extern const DepthwiseF32Kernel depthwise_f32;
const DepthwiseF32Kernel depthwise_f32 = {f32::packed_bytes, f32::pack, f32::run};

}  // namespace glz::avx2
