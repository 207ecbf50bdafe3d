// 512-bit vectors with vpdpbusd.
#include "contract.h"

#include "../grouped/contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512vnni {
namespace {

namespace wide {
#include "../vector/vector512.inl.h"
Vector::I dpbusd(Vector::I acc, Vector::B x, Vector::B w) { return _mm512_dpbusd_epi32(acc, x, w); }
#include "dot_u8.inl.h"
#include "s8.inl.h"
// In its blocks and lanes.
#include "../grouped/grouped.inl.h"
}  // namespace wide

namespace half {
#include "../vector/vector256.inl.h"
Vector::I dpbusd(Vector::I acc, Vector::B x, Vector::B w) { return _mm256_dpbusd_epi32(acc, x, w); }
#include "dot_u8.inl.h"
#include "s8.inl.h"
// In its blocks and lanes.
#include "../grouped/grouped.inl.h"
}  // namespace half

#include "run_s8.inl.h"
// Likewise.
#include "../grouped/run.inl.h"

}  // namespace

extern const DepthwiseS8Kernel depthwise_s8;
const DepthwiseS8Kernel depthwise_s8 = {packed_bytes_s8, pack_s8, run_s8};

extern const GroupedS8Kernel grouped_s8;
const GroupedS8Kernel grouped_s8 = {packed_bytes_grouped, pack_grouped, run_grouped, 32};

}  // namespace glz::avx512vnni
