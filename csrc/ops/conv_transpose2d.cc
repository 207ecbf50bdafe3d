// A transposed convolution as a plain one: zeros go between the input's pixels, the kernel is
// turned around.
#include "conv_core.h"
#include "op_builders.h"
#include "partition.h"
#include "window.h"

namespace glz {
namespace {

// Writes the input's pixels `step` apart into a zero image; those outside it are left out.
class SpreadStep final : public Step {
 public:
  void run(const RunContext& context, int64_t image, int) const override {
    const int64_t size = from.element_bytes(), row = from.c * size;
    const char* source = context.at(from.ref) + image * from.h * from.w * from.stride * size;
    char* target = context.at(to.ref) + image * to.h * to.w * to.stride * size;
    std::memset(target, size == 1 ? kBias : 0, to.h * to.w * to.stride * size);
    for (int64_t y = 0; y < from.h; ++y) {
      const int64_t ty = top + y * sh;
      if (ty < 0 || ty >= to.h) continue;
      for (int64_t x = 0; x < from.w; ++x) {
        const int64_t tx = left + x * sw;
        if (tx < 0 || tx >= to.w) continue;
        std::memcpy(target + (ty * to.w + tx) * to.stride * size,
                    source + (y * from.w + x) * from.stride * size, row);
      }
    }
  }
  View from, to;
  int64_t top = 0, left = 0, sh = 1, sw = 1;
};

class ConvTranspose2d final : public Op {
 public:
  explicit ConvTranspose2d(const Node& node)
      : Op(node),
        weight_(node.need_constant(1, "weight")),
        bias_(node.has_input(2) ? node.need_constant(2, "bias") : nullptr),
        tail_(read_tail(node)),
        window_(read_window(node)),
        output_pad_(read_sizes(node, "output_pad", 2, 0, {0, 0})),
        groups_(node.integer("groups", 1)) {
    const Shape& w = weight_->shape;
    check_weight(*weight_, 4, "(C, O/groups, KH, KW)", label_);
    GLZ_CHECK(groups_ > 0 && w[0] % groups_ == 0, kShape,
              label_ << ": " << groups_ << " groups do not divide " << w[0] << " inputs");
    in_ = w[0];
    group_out_ = w[1];
    window_.kh = w[2];
    window_.kw = w[3];
    check_bias(bias_, group_out_ * groups_, label_);
  }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4 && x[1] == in_, kShape,
              label_ << ": input of shape " << to_string(x) << " must be (N, " << in_
                     << ", H, W), as the weight");
    const Window& k = window_;
    Shape out = {x[0], group_out_ * groups_,
                 (x[2] - 1) * k.sh + k.dh * (k.kh - 1) + 1 + output_pad_[0] - k.top - k.bottom,
                 (x[3] - 1) * k.sw + k.dw * (k.kw - 1) + 1 + output_pad_[1] - k.left - k.right};
    GLZ_CHECK(out[2] > 0 && out[3] > 0, kShape, label_ << ": pad leaves nothing of the output");
    check_residual(inputs.size() > 3 ? inputs[3] : nullptr, out, label_);
    return {tail_.output(std::move(out))};
  }

  bool absorbs(size_t i) const override { return i == 1 || i == 2; }

  void prepare(const InputTypes& inputs, const std::vector<View>&,
               const KernelTable& table) override {
    const int64_t channels = in_ / groups_, out = group_out_, taps = window_.kh * window_.kw;
    Filter filter = empty_filter(*inputs[0], *weight_, 1, out * groups_, channels, window_.kh,
                                 window_.kw, groups_, label_);
    fill_filter(&filter, *weight_, in_, out, taps, [=](int64_t c, int64_t o, int64_t t) {
      return ((c / channels * out + o) * taps + taps - 1 - t) * channels + c % channels;
    });
    const Shape shape = infer(inputs)[0].shape;
    ConvGeometry geometry = dense_window().geometry({}, {});
    geometry.n = shape[0];
    geometry.oh = shape[2];
    geometry.ow = shape[3];
    core_.prepare(std::move(filter), geometry, bias_, tail_, *inputs[0], table);
  }

  size_t weight_bytes() const override { return core_.bytes(); }

  void plan(OpPlan& plan) const override {
    const View x = plan.input_as(0, Layout::kPixels, core_.input_type());
    const View out = plan.output();
    auto spread = std::make_unique<SpreadStep>();
    spread->from = x;
    spread->sh = window_.sh;
    spread->sw = window_.sw;
    spread->top = window_.dh * (window_.kh - 1) - window_.top;
    spread->left = window_.dw * (window_.kw - 1) - window_.left;
    View wide = x;
    wide.h = out.h + window_.dh * (window_.kh - 1);
    wide.w = out.w + window_.dw * (window_.kw - 1);
    wide.stride = channel_stride(x.c);
    wide.sliced = false;
    spread->to = wide = plan.temporary(wide);
    spread->tasks = x.n;
    spread->kernel = "spread";
    spread->bytes = x.bytes() + wide.bytes();
    plan.add(std::move(spread));

    View residual;
    if (plan.has_input(3)) residual = plan.input(3);
    core_.plan(plan, dense_window().geometry(wide, out), wide,
               plan.has_input(3) ? &residual : nullptr,
               plan.has_input(3) ? plan.input_type(3).scale : 0.0f, out);
  }

 private:
  // Of the convolution over the spread image.
  Window dense_window() const {
    Window window = window_;
    window.sh = window.sw = 1;
    window.top = window.left = window.bottom = window.right = 0;
    return window;
  }

  const ModelTensor* weight_;
  const ModelTensor* bias_;
  Tail tail_;
  Window window_;
  std::vector<int64_t> output_pad_;
  int64_t groups_, in_ = 0, group_out_ = 0;
  ConvCore core_;
};

}  // namespace

std::unique_ptr<Op> make_conv_transpose2d(const Node& node) {
  return std::make_unique<ConvTranspose2d>(node);
}

}  // namespace glz
