// Steps that move a tensor into another layout or element type, quantizing on the way if need be.
#pragma once

#include <memory>

#include "../kernels/table.h"
#include "step.h"

namespace glz {

// Everything from `from` to `to`, which view the same tensor. `type` is its logical type: its shape
// says what is a channel, its scale what codes mean (if one side holds codes and the other does
// not).
std::unique_ptr<Step> make_convert(const View& from, const View& to, const TensorType& type,
                                   const KernelTable& table, int threads = 1);

// Zeroes the pad lanes of a float32 view.
std::unique_ptr<Step> make_clear_pads(const View& view);

}  // namespace glz
