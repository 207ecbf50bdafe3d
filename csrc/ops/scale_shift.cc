// x * scale[c] + shift[c] and its activation; a batch norm that nothing took in is the same.
#include <cmath>

#include "constants.h"
#include "convert.h"
#include "epilogue.h"
#include "op_builders.h"
#include "partition.h"

namespace glz {
namespace {

class ScaleShiftStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const Range range = part_of(from.rows(), task, tasks);
    kernel_run(context.at(from.ref) + range.begin * from.stride * from.element_bytes(), from.type,
               input_scale, scale, shift, tail.leaky, tail.slope, tail.lo, tail.hi,
               context.at(to.ref) + range.begin * to.stride * to.element_bytes(), to.type,
               inverse_scale, range.end - range.begin, from.c, from.stride, to.stride);
  }
  decltype(EltwiseKernel::scale_shift) kernel_run;
  View from, to;
  float input_scale = 1.0f, inverse_scale = 1.0f;
  const float* scale = nullptr;
  const float* shift = nullptr;
  Epilogue tail;
};

class ScaleShift final : public Op {
 public:
  explicit ScaleShift(const Node& node)
      : Op(node), axis_(node.integer("axis", 1)), tail_(read_tail(node)) {
    const bool batch_norm = node.op() == "batch_norm";
    eps_ = batch_norm ? node.number("eps", 1e-5) : 0.0;
    const char* names[] = {"gamma", "beta", "mean", "var"};
    const char* plain[] = {"scale", "shift"};
    for (size_t i = 0; i < (batch_norm ? 4 : 2); ++i) {
      constants_.push_back(node.need_constant(i + 1, batch_norm ? names[i] : plain[i]));
    }
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    const int64_t channels = x[resolve_axis(axis_, x.size(), label_)];
    for (const ModelTensor* constant : constants_) {
      GLZ_CHECK(constant->shape == Shape{channels}, kShape,
                label_ << ": '" << constant->name << "' of shape " << to_string(constant->shape)
                       << " must have shape (" << channels << ",)");
    }
    return {tail_.out.type(x)};
  }

  bool absorbs(size_t i) const override { return i > 0; }

  void prepare(const InputTypes&, const std::vector<View>&, const KernelTable&) override {
    std::vector<std::vector<float>> values;
    for (const ModelTensor* constant : constants_) values.push_back(real_values(*constant));
    const int64_t channels = constants_[0]->shape[0];
    scale_ = Buffer((round_up(channels, 64) + 64) * sizeof(float));
    shift_ = Buffer((round_up(channels, 64) + 64) * sizeof(float));
    std::memset(scale_.data(), 0, scale_.size());
    std::memset(shift_.data(), 0, shift_.size());
    for (int64_t c = 0; c < channels; ++c) {
      float scale = values[0][c], shift = values[1][c];
      if (constants_.size() == 4) {
        scale = scale / std::sqrt(values[3][c] + static_cast<float>(eps_));
        shift = static_cast<float>(shift - static_cast<double>(values[2][c]) * scale);
      }
      scale_.as<float>()[c] = scale;
      shift_.as<float>()[c] = shift;
    }
  }

  size_t weight_bytes() const override { return scale_.size() + shift_.size(); }

  void plan(OpPlan& plan) const override {
    const TensorType& type = plan.input_type(0);
    const size_t axis = resolve_axis(axis_, type.rank(), label_);
    const View home = plan.output_home();
    if (axis == 1 && home.layout == Layout::kPixels) {
      return add_step(plan, plan.input(0), plan.output());
    }
    // Other axes: row-major, seen as (before, channels, after) images.
    const View plain = plan.input_as(0, Layout::kPlain, element_type(type.dtype));
    const TensorType seen{{product(type.shape, 0, axis), type.shape[axis], 1,
                           product(type.shape, axis + 1, type.rank())},
                          type.dtype,
                          type.scale};
    const View pixels = plan.temporary(pixel_view(seen, plain.type));
    View result = pixel_view(seen, home.type);
    result = plan.temporary(result);
    const View out = plan.temporary(plain_view(type, home.type));
    plan.add(make_convert(plain, pixels, seen, plan.table()));
    add_step(plan, pixels, result);
    plan.add(make_convert(result, out, seen, plan.table()));
    plan.add(make_convert(out, plan.output(), plan.output_type(), plan.table()));
  }

 private:
  void add_step(OpPlan& plan, const View& x, const View& out) const {
    auto step = std::make_unique<ScaleShiftStep>();
    step->kernel_run = plan.table().eltwise.scale_shift;
    step->from = x;
    step->to = out;
    step->input_scale = plan.input_type(0).scale;
    step->inverse_scale = tail_.inverse_scale();
    step->scale = scale_.as<float>();
    step->shift = shift_.as<float>();
    step->tail = make_epilogue(tail_, 1.0f);
    step->kernel = "scale_shift";
    step->bytes = x.bytes() + out.bytes();
    step->tasks = row_tasks(x.rows(), plan.threads(), step->bytes / kBytesPerNanosecond);
    plan.add(std::move(step));
  }

  int64_t axis_;
  Tail tail_;
  double eps_ = 0.0;
  std::vector<const ModelTensor*> constants_;
  Buffer scale_, shift_;
};

}  // namespace

std::unique_ptr<Op> make_scale_shift(const Node& node) {
  return std::make_unique<ScaleShift>(node);
}
std::unique_ptr<Op> make_batch_norm(const Node& node) { return std::make_unique<ScaleShift>(node); }

}  // namespace glz
