#include "../epilogue_scalar.h"
#include "../sparse_conv/packing.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

using Args = SparseS8Args;
using Input = uint8_t;
using Weight = int8_t;
using Sum = int32_t;
int32_t value(uint8_t stored, int64_t zero) { return static_cast<int32_t>(stored - zero); }

#include "../sparse_conv/reference.inl.h"

}  // namespace

// A panel is one channel, a tile one row.
extern const SparseS8Kernel sparse_s8 = {workspace_bytes, 1, 1, 1, run, false};

}  // namespace glz::reference
