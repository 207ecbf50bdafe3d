#include "../epilogue_scalar.h"
#include "../sparse_conv/packing.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

using Args = SparseF32Args;
using Input = float;
using Weight = float;
using Sum = float;
float value(float stored, int64_t) { return stored; }

#include "../sparse_conv/reference.inl.h"

}  // namespace

// A panel is one channel, a tile one row.
extern const SparseF32Kernel sparse_f32 = {workspace_bytes, 1, 1, 1, run, false};

}  // namespace glz::reference
