// peak: the largest magnitude of each row (N, ...) -> (N,). What calibration asks of every tensor.
#include "magnitude.h"
#include "op_builders.h"
#include "view.h"

namespace glz {
namespace {

class PeakStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const int64_t rows = from.rows() / tasks;  // of the view, to one of the tensor
    const auto* x = context.at<float>(from.ref);
    Magnitude magnitude;
    if (from.layout == Layout::kPlain) {
      magnitude.take(x + task * (from.c / tasks), from.c / tasks);
    } else {
      for (int64_t i = task * rows; i < (task + 1) * rows; ++i) {
        magnitude.take(x + i * from.stride, from.c);
      }
    }
    context.at<float>(to.ref)[task] = magnitude.largest();
  }

  View from, to;
};

class Peak final : public Op {
 public:
  using Op::Op;

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(!x.empty(), kShape, label_ << ": its input has no axes");
    return {{Shape{x[0]}}};
  }

  void plan(OpPlan& plan) const override {
    const TensorType& type = plan.input_type(0);
    auto step = std::make_unique<PeakStep>();
    step->from =
        type.quantized() ? plan.input_as(0, Layout::kPlain, ElementType::kF32) : plan.input(0);
    step->to = plan.output();
    step->kernel = "plain";
    step->bytes = step->from.bytes();
    step->tasks = type.shape[0];
    plan.add(std::move(step));
  }
};

}  // namespace

std::unique_ptr<Op> make_peak(const Node& node) { return std::make_unique<Peak>(node); }

}  // namespace glz
