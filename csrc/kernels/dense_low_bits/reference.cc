#include "../epilogue_scalar.h"
#include "contract.h"
#include "packing.h"

namespace glz::reference {
namespace {

size_t workspace_bytes(const ConvGeometry&) { return 0; }

int32_t unpacked(const LowBitsHeader& h, const uint8_t* base, int64_t c, int64_t k) {
  const uint8_t* panel = base + h.panels + c / kLowBitsPanel * h.blocks * 64;
  const int byte = panel[k / h.terms * 64 + c % kLowBitsPanel * 4 + k % 4];
  return byte >> (k % h.terms / 4 * h.width) & ((1 << h.width) - 1);
}

void run(const ConvS8Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  const auto* base = static_cast<const uint8_t*>(a.packed);
  const auto& h = *reinterpret_cast<const LowBitsHeader*>(base);
  const auto* corrections = reinterpret_cast<const int32_t*>(base + h.corrections);
  for (int64_t row = row_begin; row < row_end; ++row) {
    const uint8_t* x = a.input + row * a.geometry.stride_c;
    int32_t sum = 0;
    for (int64_t k = 0; k < h.inputs; ++k) sum += x[k];
    for (int64_t c = panel_begin * kLowBitsPanel; c < panel_end * kLowBitsPanel && c < h.channels;
         ++c) {
      int32_t dot = 0;
      for (int64_t k = 0; k < h.inputs; ++k) dot += x[k] * unpacked(h, base, c, k);
      store_epilogue(a.epilogue, row, c, h.factor * dot - h.offset * sum + corrections[c]);
    }
  }
}

}  // namespace

extern const DenseLowBitsKernel dense_low_bits = {kLowBitsPanel, 1, workspace_bytes, run, 16};

}  // namespace glz::reference
