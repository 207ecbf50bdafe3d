// The fused tail of weighted operators (gluonzip/graph/ops.py: residual, activation, out_scale),
// from attributes to what kernels/epilogue.h wants.
#pragma once

#include "../kernels/epilogue.h"
#include "node.h"

namespace glz {

struct Tail {
  enum class Act { kNone, kRelu, kClip, kLeakyRelu };
  Act act = Act::kNone;
  double act_min = 0, act_max = 0, act_slope = 0;
  OutCodes out;

  // 1 when the output is float32.
  float out_scale() const { return out.wanted() ? out.scale : 1.0f; }
  float inverse_scale() const { return 1.0f / out_scale(); }
};

// Reads act, act_min, act_max, act_slope, out_scale and unsigned.
Tail read_tail(const Node& node);

// leaky, slope, lo and hi in units of `step` (the output step, or 1 when a kernel scales later).
Epilogue make_epilogue(const Tail& tail, float step);

// Throws kShape unless the residual has the output's shape.
void check_residual(const TensorType* residual, const Shape& output, const std::string& label);

}  // namespace glz
