// Base of the rarer operators: written once, in plain C++, on row-major float32. The planner's
// conversions take care of layouts and of codes on both sides.
#pragma once

#include "op.h"

namespace glz {

constexpr size_t kMaxPlainInputs = 2;

struct PlainCall {
  const float* x[kMaxPlainInputs];
  float* y;
  const TensorType* x_type[kMaxPlainInputs];
  const TensorType* y_type;
};

class PlainOp : public Op {
 public:
  // Reads the attributes out_scale and unsigned.
  explicit PlainOp(const Node& node);
  void plan(OpPlan& plan) const override;
  virtual void compute(const PlainCall& call) const = 0;

 protected:
  // float32, or codes if out_scale is set.
  TensorType output_type(Shape shape) const;
  // As x, if moving codes about keeps their scale; else as output_type().
  TensorType moved_type(const TensorType& x, Shape shape) const;
  void plan_output(OpPlan& plan, size_t output) const;
  virtual void compute_output(const PlainCall& call, size_t output) const {
    (void)output;
    compute(call);
  }
  // Inputs that are read at run time: the first so many.
  virtual size_t run_time_inputs() const { return 1; }

  OutCodes out_;

 private:
  friend class PlainStep;
};

}  // namespace glz
