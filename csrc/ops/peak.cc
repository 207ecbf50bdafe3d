// peak: the lowest and the highest value of each row (N, ...) -> (N, 2). What calibration asks of
// every tensor.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "op_builders.h"
#include "view.h"

namespace glz {
namespace {

// Takes in values run by run. NaN counts as beyond infinity.
class Extremes {
 public:
  void take(const float* x, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      int32_t bits[kLanes];
      std::memcpy(bits, x + i, sizeof bits);
      for (int j = 0; j < kLanes; ++j) take(bits[j], j);
    }
    for (; i < count; ++i) {
      int32_t bits;
      std::memcpy(&bits, x + i, sizeof bits);
      take(bits, 0);
    }
  }
  // Zero is always among the values.
  void give(float* to) const {
    const int32_t ends[2] = {ordered(*std::min_element(low_, low_ + kLanes)),
                             ordered(*std::max_element(high_, high_ + kLanes))};
    std::memcpy(to, ends, sizeof ends);
  }

 private:
  static constexpr int kLanes = 16;
  // The bits of a float as an integer of the same order, and back.
  static int32_t ordered(int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }
  void take(int32_t bits, int lane) {
    const int32_t value = ordered(bits);
    low_[lane] = std::min(low_[lane], value);
    high_[lane] = std::max(high_[lane], value);
  }
  int32_t low_[kLanes] = {}, high_[kLanes] = {};
};

class PeakStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const int64_t rows = from.rows() / tasks;  // of the view, to one of the tensor
    const auto* x = context.at<float>(from.ref);
    Extremes extremes;
    if (from.layout == Layout::kPlain) {
      extremes.take(x + task * (from.c / tasks), from.c / tasks);
    } else {
      for (int64_t i = task * rows; i < (task + 1) * rows; ++i) {
        extremes.take(x + i * from.stride, from.c);
      }
    }
    extremes.give(context.at<float>(to.ref) + 2 * task);
  }

  View from, to;
};

class Peak final : public Op {
 public:
  using Op::Op;

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(!x.empty(), kShape, label_ << ": its input has no axes");
    return {{Shape{x[0], 2}}};
  }

  void plan(OpPlan& plan) const override {
    const TensorType &type = plan.input_type(0), &out = plan.output_type();
    auto step = std::make_unique<PeakStep>();
    step->from =
        type.quantized() ? plan.input_as(0, Layout::kPlain, ElementType::kF32) : plan.input(0);
    step->to = plan.temporary(plain_view(out, ElementType::kF32));
    step->kernel = "plain";
    step->bytes = step->from.bytes();
    step->tasks = type.shape[0];
    const View found = step->to;
    plan.add(std::move(step));
    plan.add(make_convert(found, plan.output(), out, plan.table()));
  }
};

}  // namespace

std::unique_ptr<Op> make_peak(const Node& node) { return std::make_unique<Peak>(node); }

}  // namespace glz
