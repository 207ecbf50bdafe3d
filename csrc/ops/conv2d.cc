#include "conv_core.h"
#include "op_builders.h"
#include "window.h"

namespace glz {
namespace {

class Conv2d final : public Op {
 public:
  explicit Conv2d(const Node& node)
      : Op(node),
        weight_(node.need_constant(1, "weight")),
        bias_(node.has_input(2) ? node.need_constant(2, "bias") : nullptr),
        tail_(read_tail(node)),
        window_(read_window(node)),
        groups_(node.integer("groups", 1)),
        dynamic_(node.flag("dynamic", false)) {
    const Shape& w = weight_->shape;
    check_weight(*weight_, 4, "(O, I/groups, KH, KW)", label_);
    GLZ_CHECK(groups_ > 0 && w[0] % groups_ == 0, kShape,
              label_ << ": " << groups_ << " groups do not divide " << w[0] << " outputs");
    out_ = w[0];
    channels_ = w[1];
    window_.kh = w[2];
    window_.kw = w[3];
    check_bias(bias_, out_, label_);
  }

  bool per_image(const InputTypes&) const override { return !dynamic_; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4, kShape,
              label_ << ": input of shape " << to_string(x) << " must have four axes (N, C, H, W)");
    GLZ_CHECK(x[1] == channels_ * groups_, kShape,
              label_ << ": input of shape " << to_string(x) << " has " << x[1]
                     << " channels, the weight needs " << channels_ * groups_);
    Shape out = {x[0], out_, window_.out_height(x[2], label_), window_.out_width(x[3], label_)};
    check_residual(inputs.size() > 3 ? inputs[3] : nullptr, out, label_);
    return {tail_.out.type(std::move(out))};
  }

  bool absorbs(size_t i) const override { return i == 1 || i == 2; }

  Traits traits() const override {
    Traits traits;
    traits.reads_pads = true;
    return traits;
  }

  void prepare(const InputTypes& inputs, const std::vector<View>&,
               const KernelTable& table) override {
    const TensorType x = multiplied_type(*inputs[0], dynamic_);
    core_.set_dynamic(dynamic_);
    Filter filter =
        empty_filter(x, *weight_, 0, out_, channels_, window_.kh, window_.kw, groups_, label_);
    filter.weight = weight_;
    filter.order = {channels_, filter.taps(), channels_};
    core_.prepare(std::move(filter), geometry(inputs), bias_, tail_, x, table);
  }

  bool reads_planes(size_t i, const InputTypes& inputs) const override {
    if (i == 3) return suits(*inputs[3], inputs) && writes_planes(inputs);
    return i == 0 && suits(*inputs[0], inputs);
  }
  bool writes_planes(const InputTypes& inputs) const override {
    // A residual must be in planes too.
    return suits(infer(inputs)[0], inputs) &&
           (inputs.size() <= 3 || inputs[3] == nullptr || suits(*inputs[3], inputs));
  }

  size_t weight_bytes() const override { return core_.bytes(); }

  void plan(OpPlan& plan) const override {
    const Layout layout = plan.input_in_planes(0) ? Layout::kPlanes : Layout::kPixels;
    const ConvInput input = core_.input(plan, 0, layout);
    const View& x = input.view;
    const View out = plan.output();
    View residual;
    if (plan.has_input(3)) residual = residual_view(plan);
    core_.plan(plan, window_.geometry(x, out), input, plan.has_input(3) ? &residual : nullptr,
               plan.has_input(3) ? plan.input_type(3).scale : 0.0f, out);
  }

 private:
  // Of a plan with these inputs.
  ConvGeometry geometry(const InputTypes& inputs) const {
    const Shape out = infer(inputs)[0].shape;
    ConvGeometry geometry = window_.geometry({}, {});
    geometry.n = out[0];
    geometry.oh = out[2];
    geometry.ow = out[3];
    return geometry;
  }

  // Planes hold what the kernel reads and writes without conversion.
  bool suits(const TensorType& type, const InputTypes& inputs) const {
    return !core_.dynamic() && type.quantized() == holds_codes(core_.input_type()) &&
           core_.takes_planes(geometry(inputs));
  }

  View residual_view(OpPlan& plan) const {
    const bool mixed = plan.input_in_planes(3) && core_.mixes_residual();
    if (!plan.output_in_planes() && !mixed) return plan.input(3);
    return plan.input_as(3, Layout::kPlanes, element_type(plan.input_type(3).dtype));
  }

  const ModelTensor* weight_;
  const ModelTensor* bias_;
  Tail tail_;
  Window window_;
  int64_t groups_;
  bool dynamic_;
  int64_t out_ = 0, channels_ = 0;
  ConvCore core_;
};

}  // namespace

std::unique_ptr<Op> make_conv2d(const Node& node) { return std::make_unique<Conv2d>(node); }

}  // namespace glz
