// Dense or sparse: decided for each layer when its weights are packed.
#pragma once

#include "../kernels/conv_s8/contract.h"
#include "../kernels/table.h"

namespace glz {

enum class SparsePolicy { kAuto, kAlways, kNever };

// The environment variable GLUONZIP_SPARSE: auto (the default), always, never. Throws kConfig for
// anything else.
SparsePolicy sparse_policy();

// Whether the sparse kernel is expected to be clearly faster for the output rows of `g` (n, oh,
// ow), of which none are known if there are none. `words`: of 32 bits that have a weight other than
// zero.
bool sparse_is_faster(const ConvGeometry& g, bool integer, int64_t words);

}  // namespace glz
