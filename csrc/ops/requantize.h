// Codes of one type and scale to those of another.
#pragma once

#include "op.h"

namespace glz {

// Adds the step that brings `from` (of type x) to `to` (of type y): a copy, a conversion, or a
// table that takes each code from one to the other.
void add_requantize(OpPlan& plan, const View& from, const TensorType& x, const View& to,
                    const TensorType& y);

}  // namespace glz
