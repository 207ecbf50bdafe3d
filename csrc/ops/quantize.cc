// quantize, dequantize, and what simulates the two.
#include <algorithm>
#include <cmath>

#include "constants.h"
#include "convert.h"
#include "dynamic.h"
#include "magnitude.h"
#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

Traits elementwise() {
  Traits traits;
  traits.elementwise = true;
  return traits;
}

class Quantize final : public Op {
 public:
  explicit Quantize(const Node& node) : Op(node), out_(node.out_codes("scale")) {
    node.scale("scale");  // must be there
  }
  Traits traits() const override { return elementwise(); }
  bool per_image(const InputTypes&) const override { return true; }
  OutputTypes infer(const InputTypes& inputs) const override {
    return {out_.type(inputs[0]->shape)};
  }
  void plan(OpPlan& plan) const override {
    // From where the caller or the producer left it: the network's input is read once.
    const View home = plan.output_home();
    const View x = plan.input_type(0).quantized() ? plan.input_as(0, home.layout, ElementType::kF32)
                                                  : plan.raw(0);
    plan.add(make_convert(x, plan.output(), plan.output_type(), plan.table(), plan.threads()));
  }

 private:
  OutCodes out_;
};

class Dequantize final : public Op {
 public:
  using Op::Op;
  Traits traits() const override { return elementwise(); }
  bool per_image(const InputTypes&) const override { return true; }
  OutputTypes infer(const InputTypes& inputs) const override { return {{inputs[0]->shape}}; }
  void plan(OpPlan& plan) const override {
    plan.add(make_convert(plan.input(0), plan.output(), plan.input_type(0), plan.table(),
                          plan.threads()));
  }
};

class FakeQuantize final : public PlainOp {
 public:
  explicit FakeQuantize(const Node& node)
      : PlainOp(node), scale_(node.need_constant(1, "scale")), axis_(node.integer("axis", 0)) {
    const int64_t bits = node.integer("bits", 8);
    GLZ_CHECK(bits >= 1 && bits <= 8, kGraph, label_ << ": bits is " << bits << ", must be 1 to 8");
    const bool is_unsigned = node.flag("unsigned", false);
    highest_ = static_cast<float>((1 << (is_unsigned ? bits : bits - 1)) - 1);  // 0: binary
    lowest_ = is_unsigned ? 0.0f : -highest_;
  }

  bool absorbs(size_t i) const override { return i == 1; }
  void prepare(const InputTypes&, const std::vector<View>&, const KernelTable&) override {
    scales_ = real_values(*scale_);
  }
  bool per_image(const InputTypes&) const override { return true; }
  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    const bool each = !scale_->shape.empty();
    GLZ_CHECK(!each || scale_->shape == Shape{x[resolve_axis(axis_, x.size(), label_)]}, kShape,
              label_ << ": scale of shape " << to_string(scale_->shape) << " does not fit axis "
                     << axis_ << " of " << to_string(x));
    return {{x}};
  }
  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const int64_t channels = static_cast<int64_t>(scales_.size());
    const int64_t inner =
        scale_->shape.empty()
            ? 1
            : product(shape, resolve_axis(axis_, shape.size(), label_) + 1, shape.size());
    for (int64_t i = 0; i < call.y_type->elements(); ++i) {
      const float step = scales_[i / inner % channels];
      if (highest_ == 0.0f) {
        call.y[i] = call.x[0][i] < 0.0f ? -step : step;
        continue;
      }
      const float code = std::min(std::max(call.x[0][i] * (1.0f / step), lowest_), highest_);
      call.y[i] = std::nearbyint(code) * step;
    }
  }

 private:
  const ModelTensor* scale_;
  int64_t axis_;
  float lowest_ = 0.0f, highest_ = 0.0f;
  std::vector<float> scales_;
};

class FakeQuantizeDynamic final : public PlainOp {
 public:
  explicit FakeQuantizeDynamic(const Node& node) : PlainOp(node), bits_(node.integer("bits", 8)) {
    GLZ_CHECK(bits_ >= 2 && bits_ <= 8, kGraph,
              label_ << ": bits is " << bits_ << ", must be 2 to 8");
  }
  OutputTypes infer(const InputTypes& inputs) const override { return {{inputs[0]->shape}}; }
  void compute(const PlainCall& call) const override {
    const int64_t count = call.y_type->elements();
    Magnitude magnitude;
    magnitude.take(call.x[0], count);
    const float step = own_scale(magnitude.largest(), static_cast<int>(bits_));
    const float limit = static_cast<float>((1 << (bits_ - 1)) - 1), inverse = 1.0f / step;
    for (int64_t i = 0; i < count; ++i) {
      call.y[i] = std::nearbyint(std::clamp(call.x[0][i] * inverse, -limit, limit)) * step;
    }
  }

 private:
  int64_t bits_;
};

}  // namespace

std::unique_ptr<Op> make_fake_quantize_dynamic(const Node& node) {
  return std::make_unique<FakeQuantizeDynamic>(node);
}
std::unique_ptr<Op> make_quantize(const Node& node) { return std::make_unique<Quantize>(node); }
std::unique_ptr<Op> make_dequantize(const Node& node) { return std::make_unique<Dequantize>(node); }
std::unique_ptr<Op> make_fake_quantize(const Node& node) {
  return std::make_unique<FakeQuantize>(node);
}

}  // namespace glz
