#include "plain_op.h"

#include "convert.h"

namespace glz {

class PlainStep final : public Step {
 public:
  PlainStep(const PlainOp& op, size_t output) : op_(op), output_(output) {}

  void run(const RunContext& context, int64_t, int) const override {
    PlainCall call{};
    for (size_t i = 0; i < inputs; ++i) {
      call.x[i] = context.at<float>(x[i]);
      call.x_type[i] = &x_type[i];
    }
    call.y = context.at<float>(y);
    call.y_type = &y_type;
    op_.compute_output(call, output_);
  }

  Ref x[kMaxPlainInputs], y;
  TensorType x_type[kMaxPlainInputs], y_type;
  size_t inputs = 0;

 private:
  const PlainOp& op_;
  const size_t output_;
};

PlainOp::PlainOp(const Node& node) : Op(node), out_(node.out_codes()) {}

TensorType PlainOp::output_type(Shape shape) const { return out_.type(std::move(shape)); }

TensorType PlainOp::moved_type(const TensorType& x, Shape shape) const {
  if (x.quantized() && !out_.wanted()) return {std::move(shape), x.dtype, x.scale};
  return output_type(std::move(shape));
}

void PlainOp::plan(OpPlan& plan) const { plan_output(plan, 0); }

void PlainOp::plan_output(OpPlan& plan, size_t output) const {
  auto step = std::make_unique<PlainStep>(*this, output);
  step->kernel = "plain";
  step->inputs = run_time_inputs();
  for (size_t i = 0; i < step->inputs; ++i) {
    step->x[i] = plan.input_as(i, Layout::kPlain, ElementType::kF32).ref;
    step->x_type[i] = plan.input_type(i);
    step->bytes += step->x_type[i].elements() * 4;
  }
  const TensorType& type = plan.output_type(output);
  step->y_type = type;
  step->bytes += type.elements() * 4;
  const View home = plan.output_home(output);
  if (home.type == ElementType::kF32 && home.row_major()) {
    step->y = plan.output(output).ref;
    // A slice of a concat's output may have gaps after all.
    if (plan.output(output).row_major()) return plan.add(std::move(step));
  }
  const View plain = plan.temporary(plain_view(type, ElementType::kF32));
  step->y = plain.ref;
  plan.add(std::move(step));
  plan.add(make_convert(plain, plan.output(output), type, plan.table(), plan.threads()));
}

}  // namespace glz
