// A dense layer is a convolution with one tap. Behind an image it reads the whole image as that
// tap: pixels x channels is a permutation of (C, H, W), which the packed weights make up for.
#include "conv_core.h"
#include "convert.h"
#include "op_builders.h"

namespace glz {
namespace {

class Dense final : public Op {
 public:
  explicit Dense(const Node& node)
      : Op(node),
        weight_(node.need_constant(1, "weight")),
        bias_(node.has_input(2) ? node.need_constant(2, "bias") : nullptr),
        tail_(read_tail(node)),
        flatten_(node.flag("flatten", true)),
        dynamic_(node.flag("dynamic", false)) {
    const Shape& w = weight_->shape;
    check_weight(*weight_, 2, "(O, I)", label_);
    out_ = w[0];
    features_ = w[1];
    check_bias(bias_, out_, label_);
  }

  bool per_image(const InputTypes&) const override { return !dynamic_; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(!x.empty(), kShape, label_ << ": the input must have at least one axis");
    const int64_t features = flatten_ ? product(x, 1, x.size()) : x.back();
    GLZ_CHECK(features == features_, kShape,
              label_ << ": input of shape " << to_string(x) << " has " << features
                     << " features, the weight needs " << features_);
    Shape out = flatten_ ? Shape{x[0]} : Shape(x.begin(), x.end() - 1);
    out.push_back(out_);
    check_residual(inputs.size() > 3 ? inputs[3] : nullptr, out, label_);
    return {tail_.out.type(std::move(out))};
  }

  Traits traits() const override {
    Traits traits;
    traits.takes_flattened = traits.reads_pads = true;
    return traits;
  }

  bool absorbs(size_t i) const override { return i == 1 || i == 2; }

  void prepare(const InputTypes& inputs, const std::vector<View>& homes,
               const KernelTable& table) override {
    const TensorType x = multiplied_type(*inputs[0], dynamic_);
    core_.set_dynamic(dynamic_);
    core_.keep_low_bits();
    const bool image = reads_image(x, homes[0]) && homes[0].h * homes[0].w > 1;
    image_channels_ = image ? homes[0].c : features_;
    const int64_t pixels = image ? homes[0].h * homes[0].w : 1;
    const int64_t stride = image ? channel_stride(image_channels_) : features_;
    const int64_t width = pixels * stride;
    Filter filter = empty_filter(x, *weight_, 0, out_, width, 1, 1, 1, label_);
    filter.weight = weight_;
    filter.order = {image_channels_, pixels, stride};
    core_.prepare(std::move(filter), one_tap(x.elements() / features_), bias_, tail_, x, table);
  }

  size_t weight_bytes() const override { return core_.bytes(); }

  void plan(OpPlan& plan) const override {
    if (reads_image(plan.input_type(0), plan.input_home(0))) {
      plan_image(plan);
    } else {
      plan_rows(plan);
    }
  }

 private:
  // Whether the pixels of each image, in whatever order, are the features.
  bool reads_image(const TensorType& x, const View& home) const {
    return home.layout == Layout::kPixels && (flatten_ || x.rank() == 2);
  }

  void plan_image(OpPlan& plan) const {
    const bool image = image_channels_ != features_;
    ConvInput input = core_.input(plan, 0, Layout::kPixels, image);
    View& x = input.view;
    GLZ_CHECK(x.c == image_channels_, kUnsupported,
              label_ << ": was prepared for images of " << image_channels_
                     << " channels and cannot read one of " << x.c);
    x.stride *= x.h * x.w;
    x.h = x.w = 1;
    const View out = plan.output();
    View residual;
    if (plan.has_input(3)) residual = plan.input(3);
    multiply(plan, input, plan.has_input(3) ? &residual : nullptr, out);
  }

  void plan_rows(OpPlan& plan) const {
    const int64_t rows = plan.input_type(0).elements() / features_;
    const auto as_rows = [rows](View view, int64_t columns) {
      if (view.layout == Layout::kPixels) return view;  // rank 2
      view.layout = Layout::kPixels;
      view.n = rows;
      view.c = view.stride = columns;
      return view;
    };
    ConvInput input = core_.input(plan, 0, Layout::kPlain);
    input.view = as_rows(input.view, features_);
    const TensorType& type = plan.output_type();
    const bool direct = type.rank() != 4;
    View out = direct ? plan.output() : plan.temporary(plain_view(type, element_type(type.dtype)));
    View residual;
    if (plan.has_input(3)) {
      const ElementType element = element_type(plan.input_type(3).dtype);
      residual = as_rows(
          out.layout == Layout::kPixels ? plan.input(3) : plan.input_as(3, Layout::kPlain, element),
          out_);
    }
    multiply(plan, input, plan.has_input(3) ? &residual : nullptr, as_rows(out, out_));
    if (!direct) plan.add(make_convert(out, plan.output(), type, plan.table()));
  }

  static ConvGeometry one_tap(int64_t rows) {
    ConvGeometry g{};
    g.n = g.h = g.oh = 1;
    g.w = g.ow = rows;
    g.kh = g.kw = g.sh = g.sw = g.dh = g.dw = 1;
    return g;
  }

  // x: a row of features for each row of the output.
  void multiply(OpPlan& plan, const ConvInput& x, const View* residual, const View& out) const {
    core_.plan(plan, one_tap(x.view.n), x, residual,
               plan.has_input(3) ? plan.input_type(3).scale : 0.0f, out);
  }

  const ModelTensor* weight_;
  const ModelTensor* bias_;
  Tail tail_;
  bool flatten_, dynamic_;
  int64_t out_ = 0, features_ = 0;
  int64_t image_channels_ = 0;  // of the images that the weights are packed for
  ConvCore core_;
};

}  // namespace

std::unique_ptr<Op> make_dense(const Node& node) { return std::make_unique<Dense>(node); }

}  // namespace glz
