// add and mul of two operands of codes, by the integer rules of gluonzip/graph/ops.py, for shapes
// that broadcast in any way.
#pragma once

#include "epilogue.h"
#include "op.h"

namespace glz {

// Plans the node: mul if `product`, else add. The output holds codes if `tail` quantizes, else
// float32.
void plan_binary_codes(OpPlan& plan, bool product, const Tail& tail);

// Whether x is y itself, or one number for each channel of the images y: (N, C, 1, 1).
bool one_a_pixel_or_channel(const Shape& x, const Shape& y);

// Elements of row-major x between neighbours along each of `rank` axes; 0 where x is broadcast.
Shape broadcast_strides(const Shape& x, size_t rank);

}  // namespace glz
