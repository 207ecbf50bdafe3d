// The only dispatch: kernel x ISA. A kernel without a row for an ISA takes the next slower one's.
#pragma once

#include "../base/cpu.h"
#include "bitmap_s8/contract.h"
#include "conv_f32/contract.h"
#include "conv_s8/contract.h"
#include "dense_low_bits/contract.h"
#include "depthwise/contract.h"
#include "eltwise/contract.h"
#include "grouped/contract.h"
#include "pool/contract.h"
#include "sddmm/contract.h"
#include "sparse_f32/contract.h"
#include "sparse_s8/contract.h"
#include "spmm/contract.h"

namespace glz {

// Everything the engine may call, for one ISA. No pointer is null.
struct KernelTable {
  Isa isa;
  ConvS8Kernel conv_s8;
  ConvF32Kernel conv_f32;
  DenseLowBitsKernel dense_low_bits;
  BitmapS8Kernel bitmap_s8;
  DepthwiseS8Kernel depthwise_s8;
  DepthwiseF32Kernel depthwise_f32;
  PoolKernel pool;
  EltwiseKernel eltwise;
  SparseS8Kernel sparse_s8;
  SparseF32Kernel sparse_f32;
  SpmmKernel spmm_f32;
  SpmmKernel spmm_s8;
  SddmmKernel sddmm;
  GroupedS8Kernel grouped_s8;
};

const KernelTable& kernel_table(Isa isa);

}  // namespace glz
