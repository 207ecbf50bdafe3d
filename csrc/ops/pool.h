// Pooling steps, for the operators that are pools under another name too.
#pragma once

#include "op.h"
#include "window.h"

namespace glz {

struct PoolKind {
  bool average = false;
  bool count_pad = true;  // padding counts in the divisor
  float factor = 1.0f;    // of an average of codes: average_factor()
};

// Scale of the codes over that of the output (0: float32), as the integer rule for averages rounds.
float average_factor(float input_scale, float out_scale);

// One step from x to out, both pixels x channels; out does not hold codes if x is float32.
void add_pool(OpPlan& plan, const View& x, const View& out, const Window& window,
              const PoolKind& kind);
// Input 0 to output 0, quantizing after float32 pools.
void plan_pool(OpPlan& plan, const Window& window, const PoolKind& kind);

}  // namespace glz
