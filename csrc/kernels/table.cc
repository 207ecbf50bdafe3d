#include "table.h"

#include "../base/check.h"

namespace glz {

// Each kernel folder defines one object per ISA file: <isa>::<kernel>.
#define GLZ_DECLARE(isa)                          \
  namespace isa {                                 \
  extern const ConvS8Kernel conv_s8;              \
  extern const ConvF32Kernel conv_f32;            \
  extern const DenseLowBitsKernel dense_low_bits; \
  extern const BitmapS8Kernel bitmap_s8;          \
  extern const DepthwiseS8Kernel depthwise_s8;    \
  extern const DepthwiseF32Kernel depthwise_f32;  \
  extern const GroupedS8Kernel grouped_s8;        \
  extern const PoolKernel pool;                   \
  extern const EltwiseKernel eltwise;             \
  extern const SparseS8Kernel sparse_s8;          \
  extern const SparseF32Kernel sparse_f32;        \
  extern const SpmmKernel spmm_f32;               \
  extern const SpmmKernel spmm_s8;                \
  extern const SddmmKernel sddmm;                 \
  }
GLZ_DECLARE(reference)
GLZ_DECLARE(avx2)
GLZ_DECLARE(avxvnni)
GLZ_DECLARE(avx512bw)
GLZ_DECLARE(avx512vnni)
GLZ_DECLARE(avx512vbmi2)
#undef GLZ_DECLARE

namespace {

// A row is what isa_fallback(isa)'s row has, but for the kernels that have a file for this ISA.
// To add an ISA of a kernel: add its file and name its object here.
KernelTable make_row(Isa isa) {
  KernelTable row;
  if (isa != Isa::kReference) row = kernel_table(isa_fallback(isa));
  row.isa = isa;
  switch (isa) {
    case Isa::kReference:
      row.conv_s8 = reference::conv_s8;
      row.dense_low_bits = reference::dense_low_bits;
      row.bitmap_s8 = reference::bitmap_s8;
      row.conv_f32 = reference::conv_f32;
      row.depthwise_s8 = reference::depthwise_s8;
      row.grouped_s8 = reference::grouped_s8;
      row.depthwise_f32 = reference::depthwise_f32;
      row.pool = reference::pool;
      row.eltwise = reference::eltwise;
      row.sparse_s8 = reference::sparse_s8;
      row.sparse_f32 = reference::sparse_f32;
      row.spmm_f32 = reference::spmm_f32;
      row.spmm_s8 = reference::spmm_s8;
      row.sddmm = reference::sddmm;
      break;
    case Isa::kAvx2:
      row.conv_s8 = avx2::conv_s8;
      row.dense_low_bits = avx2::dense_low_bits;
      row.conv_f32 = avx2::conv_f32;
      row.depthwise_s8 = avx2::depthwise_s8;
      row.grouped_s8 = avx2::grouped_s8;
      row.depthwise_f32 = avx2::depthwise_f32;
      row.pool = avx2::pool;
      row.eltwise = avx2::eltwise;
      row.spmm_f32 = avx2::spmm_f32;
      row.spmm_s8 = avx2::spmm_s8;
      row.sddmm = avx2::sddmm;
      row.sparse_s8 = avx2::sparse_s8;
      row.sparse_f32 = avx2::sparse_f32;
      break;
    case Isa::kAvxVnni:
      row.conv_s8 = avxvnni::conv_s8;
      row.depthwise_s8 = avxvnni::depthwise_s8;
      row.grouped_s8 = avxvnni::grouped_s8;
      row.spmm_s8 = avxvnni::spmm_s8;
      row.sparse_s8 = avxvnni::sparse_s8;
      break;
    case Isa::kAvx512Bw:
      row.conv_s8 = avx512bw::conv_s8;
      row.dense_low_bits = avx512bw::dense_low_bits;
      row.conv_f32 = avx512bw::conv_f32;
      row.depthwise_s8 = avx512bw::depthwise_s8;
      row.grouped_s8 = avx512bw::grouped_s8;
      row.depthwise_f32 = avx512bw::depthwise_f32;
      row.pool = avx512bw::pool;
      row.eltwise = avx512bw::eltwise;
      row.sparse_f32 = avx512bw::sparse_f32;
      row.spmm_f32 = avx512bw::spmm_f32;
      row.spmm_s8 = avx512bw::spmm_s8;
      row.sddmm = avx512bw::sddmm;
      break;
    case Isa::kAvx512Vnni:
      row.conv_s8 = avx512vnni::conv_s8;
      row.dense_low_bits = avx512vnni::dense_low_bits;
      row.depthwise_s8 = avx512vnni::depthwise_s8;
      row.grouped_s8 = avx512vnni::grouped_s8;
      row.spmm_s8 = avx512vnni::spmm_s8;
      row.sparse_s8 = avx512vnni::sparse_s8;
      break;
    case Isa::kAvx512Vbmi2:
      row.bitmap_s8 = avx512vbmi2::bitmap_s8;
      break;
  }
  return row;
}

template <Isa isa>
const KernelTable& row() {
  static const KernelTable made = make_row(isa);
  return made;
}

}  // namespace

const KernelTable& kernel_table(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return row<Isa::kReference>();
    case Isa::kAvx2:
      return row<Isa::kAvx2>();
    case Isa::kAvxVnni:
      return row<Isa::kAvxVnni>();
    case Isa::kAvx512Bw:
      return row<Isa::kAvx512Bw>();
    case Isa::kAvx512Vnni:
      return row<Isa::kAvx512Vnni>();
    case Isa::kAvx512Vbmi2:
      return row<Isa::kAvx512Vbmi2>();
  }
  throw Error(ErrorKind::kIsa, "no kernel table for this instruction set");
}

}  // namespace glz
