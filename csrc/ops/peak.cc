// peak: the largest magnitude of each row (N, ...) -> (N,). What calibration asks of every tensor.
#include <algorithm>
#include <cstring>

#include "op_builders.h"
#include "view.h"

namespace glz {
namespace {

constexpr int kLanes = 16;

// The magnitudes of finite floats, of infinity and of NaN are in this order as integers.
void widen(const float* x, int64_t count, int32_t* most) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    int32_t bits[kLanes];
    std::memcpy(bits, x + i, sizeof bits);
    for (int j = 0; j < kLanes; ++j) most[j] = std::max(most[j], bits[j] & 0x7fffffff);
  }
  for (; i < count; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    most[0] = std::max(most[0], bits & 0x7fffffff);
  }
}

class PeakStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const int64_t rows = from.rows() / tasks;  // of the view, to one of the tensor
    const auto* x = context.at<float>(from.ref);
    int32_t most[kLanes] = {};
    if (from.layout == Layout::kPlain) {
      widen(x + task * (from.c / tasks), from.c / tasks, most);
    } else {
      for (int64_t i = task * rows; i < (task + 1) * rows; ++i) {
        widen(x + i * from.stride, from.c, most);
      }
    }
    const int32_t bits = *std::max_element(most, most + kLanes);
    std::memcpy(context.at<float>(to.ref) + task, &bits, sizeof bits);
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
