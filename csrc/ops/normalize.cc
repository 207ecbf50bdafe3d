// layer_norm, l2_normalize, prelu.
#include <cmath>

#include "constants.h"
#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class LayerNorm final : public PlainOp {
 public:
  explicit LayerNorm(const Node& node)
      : PlainOp(node),
        gamma_(node.need_constant(1, "gamma")),
        beta_(node.need_constant(2, "beta")),
        eps_(static_cast<float>(node.number("eps", 1e-5))),
        axis_(node.integer("axis", -1)) {}

  bool absorbs(size_t i) const override { return i > 0; }
  void prepare(const InputTypes&, const std::vector<View>&, const KernelTable&) override {
    scale_ = real_values(*gamma_);
    shift_ = real_values(*beta_);
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    const Shape wanted = {x[resolve_axis(axis_, x.size(), label_)]};
    for (const ModelTensor* constant : {gamma_, beta_}) {
      GLZ_CHECK(constant->shape == wanted, kShape,
                label_ << ": '" << constant->name << "' of shape " << to_string(constant->shape)
                       << " must have shape " << to_string(wanted));
    }
    return {{x}};
  }

  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    const int64_t length = shape[axis], inner = product(shape, axis + 1, shape.size());
    for (int64_t i = 0; i < product(shape, 0, axis) * inner; ++i) {
      const int64_t start = i / inner * length * inner + i % inner;
      line(call.x[0] + start, call.y + start, length, inner);
    }
  }

 private:
  void line(const float* x, float* y, int64_t length, int64_t stride) const {
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < length; ++k) sum += x[k * stride];
    const float mean = static_cast<float>(sum / static_cast<double>(length));
    for (int64_t k = 0; k < length; ++k) {
      const double centred = x[k * stride] - mean;
      squares += centred * centred;
    }
    const float variance = static_cast<float>(squares / static_cast<double>(length));
    const float deviation = std::sqrt(variance + eps_);
    for (int64_t k = 0; k < length; ++k) {
      y[k * stride] = (x[k * stride] - mean) / deviation * scale_[k] + shift_[k];
    }
  }

  const ModelTensor* gamma_;
  const ModelTensor* beta_;
  float eps_;
  int64_t axis_;
  std::vector<float> scale_, shift_;
};

class L2Normalize final : public PlainOp {
 public:
  explicit L2Normalize(const Node& node)
      : PlainOp(node), eps_(static_cast<float>(node.number("eps", 1e-10))) {
    const std::string mode = node.text("mode", "instance");
    GLZ_CHECK(mode == "instance" || mode == "channel" || mode == "spatial", kUnsupported,
              label_ << ": mode '" << mode << "' is not one of instance, channel, spatial");
    channel_ = mode == "channel";
    first_ = mode == "spatial" ? 2 : 1;
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    GLZ_CHECK(inputs[0]->rank() >= first_, kShape,
              label_ << ": input of shape " << to_string(inputs[0]->shape) << " has too few axes");
    return {{inputs[0]->shape}};
  }

  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const size_t last = channel_ ? 2 : shape.size();
    const int64_t inner = product(shape, last, shape.size());
    const int64_t length = product(shape, first_, last);
    for (int64_t i = 0; i < product(shape, 0, first_) * inner; ++i) {
      const int64_t start = i / inner * length * inner + i % inner;
      double sum = 0;
      for (int64_t k = 0; k < length; ++k) {
        const double value = call.x[0][start + k * inner];
        sum += value * value;
      }
      const float norm = std::sqrt(static_cast<float>(sum) + eps_);
      for (int64_t k = 0; k < length; ++k) {
        call.y[start + k * inner] = call.x[0][start + k * inner] / norm;
      }
    }
  }

 private:
  float eps_;
  bool channel_ = false;
  size_t first_ = 1;
};

class PRelu final : public PlainOp {
 public:
  explicit PRelu(const Node& node) : PlainOp(node), slope_(node.need_constant(1, "slope")) {}

  bool absorbs(size_t i) const override { return i == 1; }
  void prepare(const InputTypes&, const std::vector<View>&, const KernelTable&) override {
    slopes_ = real_values(*slope_);
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(slope_->shape == Shape{1} || (x.size() > 1 && slope_->shape == Shape{x[1]}), kShape,
              label_ << ": slope of shape " << to_string(slope_->shape)
                     << " does not fit an input of shape " << to_string(x));
    return {output_type(x)};
  }

  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const int64_t channels = static_cast<int64_t>(slopes_.size());
    const int64_t inner = channels > 1 ? product(shape, 2, shape.size()) : 1;
    for (int64_t i = 0; i < call.y_type->elements(); ++i) {
      const float x = call.x[0][i];
      call.y[i] = x > 0 ? x : x * slopes_[i / inner % channels];
    }
  }

 private:
  const ModelTensor* slope_;
  std::vector<float> slopes_;
};

}  // namespace

std::unique_ptr<Op> make_layer_norm(const Node& node) { return std::make_unique<LayerNorm>(node); }
std::unique_ptr<Op> make_l2_normalize(const Node& node) {
  return std::make_unique<L2Normalize>(node);
}
std::unique_ptr<Op> make_prelu(const Node& node) { return std::make_unique<PRelu>(node); }

}  // namespace glz
