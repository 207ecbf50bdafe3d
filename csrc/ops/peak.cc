// peak: the lowest and the highest value of each row (N, ...) -> (N, 2). What calibration asks of
// every tensor.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "convert.h"
#include "op_builders.h"
#include "view.h"

namespace glz {
namespace {

// Takes in values run by run. Both ends of values with a NaN among them are NaN.
class Extremes {
 public:
  void take(const float* x, int64_t count) {
    Block block = block_;  // a copy stays in registers
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) block.take(x + i, kLanes);
    if (i < count) block.take(x + i, count - i);
    block_ = block;
  }
  // Zero is always among the values.
  void give(float* to) const {
    float low = 0, high = 0;
    bool nan = false;
    for (int v = 0; v < kVectors; ++v) {
      for (int lane = 0; lane < 4; ++lane) {
        low = std::min(low, block_.low[v][lane]);
        high = std::max(high, block_.high[v][lane]);
        nan |= block_.nan[v][lane] != 0;
      }
    }
    to[0] = nan ? NAN : low;
    to[1] = nan ? NAN : high;
  }

 private:
  // Of the compiler's own: it makes no vectors of a loop whose comparisons may meet NaN.
  using Floats = float __attribute__((vector_size(16)));
  using Flags = int32_t __attribute__((vector_size(16)));
  static constexpr int kVectors = 4, kLanes = 4 * kVectors;

  struct Block {
    Floats low[kVectors] = {}, high[kVectors] = {};
    Flags nan[kVectors] = {};

    void take(const float* from, int64_t count) {
      Floats x[kVectors] = {};
      std::memcpy(x, from, count * sizeof(float));
      for (int v = 0; v < kVectors; ++v) {
        low[v] = x[v] < low[v] ? x[v] : low[v];
        high[v] = x[v] > high[v] ? x[v] : high[v];
        nan[v] |= x[v] != x[v];
      }
    }
  };
  Block block_;
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
