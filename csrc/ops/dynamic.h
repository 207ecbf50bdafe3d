// Dynamic quantization: codes of a scale that is known only when the batch is there.
#pragma once

#include <vector>

#include "op.h"

namespace glz {

struct DynamicCodes {
  View codes;  // as the float32 view that was quantized, in kS8
  Ref scale;   // float: real value = code * scale
};

// The step of `largest` = max|x|: largest / 127; 1 for (next to) nothing. gluonzip/graph/ops.py.
float own_scale(float largest, int bits);

// Adds the steps that find the scale of a float32 view and quantize it. Their memory lives until
// the node is done.
DynamicCodes add_dynamic_quantize(OpPlan& plan, const View& x);

// Adds the step that makes an epilogue's multipliers, scale * weight_scales[c] / out_scale;
// `weight_scales` must outlive the plan.
Ref add_multipliers(OpPlan& plan, const Ref& scale, const std::vector<float>& weight_scales,
                    float out_scale);

}  // namespace glz
