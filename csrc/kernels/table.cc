#include "table.h"

#include <array>

#include "../base/check.h"

namespace glz {

// Each kernel folder defines one object per ISA file: <isa>::<kernel>.
#define GLZ_DECLARE(isa)                              \
  namespace isa {                                     \
  extern const ConvS8Kernel conv_s8;                  \
  extern const ConvF32Kernel conv_f32;                \
  extern const DepthwiseS8Kernel depthwise_s8;        \
  extern const DepthwiseF32Kernel depthwise_f32;      \
  extern const PoolKernel pool;                       \
  extern const EltwiseKernel eltwise;                 \
  extern const SpmmKernel spmm;                       \
  }
GLZ_DECLARE(reference)
GLZ_DECLARE(avx2)
GLZ_DECLARE(avxvnni)
GLZ_DECLARE(avx512bw)
GLZ_DECLARE(avx512vnni)
#undef GLZ_DECLARE

// A row per ISA: what it does not list it inherits from isa_fallback(isa). To add an ISA of a
// kernel, add its file and name its object here.
const KernelTable& kernel_table(Isa isa) {
  using namespace reference;
  static const KernelTable kReference = {Isa::kReference,          reference::conv_s8,
                                         reference::conv_f32,      reference::depthwise_s8,
                                         reference::depthwise_f32, reference::pool,
                                         reference::eltwise,       reference::spmm};
  (void)isa;
  return kReference;
}

}  // namespace glz
