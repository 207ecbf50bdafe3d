// mean, sum, max over axes. Over the pixels of an image, mean and max are global pools.
#include <algorithm>
#include <limits>

#include "convert.h"
#include "op_builders.h"
#include "plain_op.h"
#include "pool.h"

namespace glz {
namespace {

// Where each element of a row-major tensor goes, in order.
class Targets {
 public:
  Targets(const Shape& x, const std::vector<bool>& reduced)
      : shape_(x), stride_(x.size(), 0), index_(x.size(), 0) {
    for (size_t i = x.size(); i-- > 0;) {
      if (reduced[i]) continue;
      stride_[i] = outputs_;
      outputs_ *= x[i];
    }
  }
  int64_t outputs() const { return outputs_; }
  int64_t next() {
    const int64_t now = at_;
    for (size_t axis = shape_.size(); axis-- > 0;) {
      at_ += stride_[axis];
      if (++index_[axis] < shape_[axis]) break;
      at_ -= stride_[axis] * shape_[axis];
      index_[axis] = 0;
    }
    return now;
  }

 private:
  const Shape& shape_;
  std::vector<int64_t> stride_, index_;  // 0 along reduced axes
  int64_t outputs_ = 1, at_ = 0;
};

// mean and max of codes, by the integer rules.
class ReduceCodesStep final : public Step {
 public:
  void run(const RunContext& context, int64_t, int) const override {
    const uint8_t* from = context.at<uint8_t>(x);
    Targets targets(shape, reduced);
    const int64_t count = product(shape, 0, shape.size()), outputs = targets.outputs();
    const int zero = zero_byte(x_type);
    std::vector<int64_t> sums(outputs, mean ? 0 : lowest_code(x_type));
    for (int64_t i = 0; i < count; ++i) {
      int64_t& sum = sums[targets.next()];
      const int64_t code = int64_t{from[i]} - zero;
      sum = mean ? sum + code : std::max(sum, code);
    }
    if (!mean) {
      for (int64_t i = 0; i < outputs; ++i) {
        context.at<uint8_t>(y)[i] = static_cast<uint8_t>(sums[i] + zero);
      }
      return;
    }
    const float step = factor / static_cast<float>(count / std::max<int64_t>(outputs, 1));
    for (int64_t i = 0; i < outputs; ++i) {
      const float value = static_cast<float>(sums[i]) * step;
      if (type == ElementType::kF32) {
        context.at<float>(y)[i] = value;
      } else {
        eltwise->quantize(&value, 1.0f, context.at<uint8_t>(y) + i, type, 1);
      }
    }
  }
  Ref x, y;
  Shape shape;
  std::vector<bool> reduced;
  bool mean = false;
  float factor = 1.0f;
  ElementType x_type = ElementType::kS8, type = ElementType::kS8;  // type: of the output
  const EltwiseKernel* eltwise = nullptr;
};

class Reduce final : public PlainOp {
 public:
  explicit Reduce(const Node& node)
      : PlainOp(node),
        max_(node.op() == "max"),
        mean_(node.op() == "mean"),
        axes_(node.list("axes", {})),
        keepdims_(node.flag("keepdims", false)) {}

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    const std::vector<bool> reduced = reduced_axes(x);
    Shape shape;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!reduced[i]) shape.push_back(x[i]);
      if (reduced[i] && keepdims_) shape.push_back(1);
    }
    return {max_ ? moved_type(*inputs[0], std::move(shape)) : output_type(std::move(shape))};
  }

  void plan(OpPlan& plan) const override {
    const TensorType& x = plan.input_type(0);
    const bool is_pool = (mean_ || max_) && x.rank() == 4 &&
                         reduced_axes(x.shape) == std::vector<bool>{false, false, true, true};
    if (is_pool) {
      Window window;
      window.kh = x.shape[2];
      window.kw = x.shape[3];
      return plan_pool(plan, window, {mean_, true, average_factor(x.scale, out_.scale)});
    }
    if (x.quantized() && (mean_ || max_)) return plan_codes(plan);
    PlainOp::plan(plan);
  }

  void compute(const PlainCall& call) const override {
    Targets targets(call.x_type[0]->shape, reduced_axes(call.x_type[0]->shape));
    const int64_t count = call.x_type[0]->elements(), outputs = targets.outputs();
    std::vector<double> sums(outputs, max_ ? -std::numeric_limits<double>::infinity() : 0.0);
    for (int64_t i = 0; i < count; ++i) {
      double& sum = sums[targets.next()];
      sum = max_ ? std::max<double>(sum, call.x[0][i]) : sum + call.x[0][i];
    }
    const double divisor = mean_ ? static_cast<double>(count / std::max<int64_t>(outputs, 1)) : 1.0;
    for (int64_t i = 0; i < outputs; ++i) call.y[i] = static_cast<float>(sums[i] / divisor);
  }

 private:
  void plan_codes(OpPlan& plan) const {
    auto step = std::make_unique<ReduceCodesStep>();
    const TensorType& type = plan.output_type();
    step->x_type = element_type(plan.input_type(0).dtype);
    step->x = plan.input_as(0, Layout::kPlain, step->x_type).ref;
    step->shape = plan.input_type(0).shape;
    step->reduced = reduced_axes(step->shape);
    step->mean = mean_;
    step->factor = average_factor(plan.input_type(0).scale, out_.scale);
    step->type = element_type(type.dtype);
    step->eltwise = &plan.table().eltwise;
    step->kernel = mean_ ? "mean_u8" : "max_u8";
    step->bytes = plan.input_type(0).elements();
    const View plain = plan.temporary(plain_view(type, step->type));
    step->y = plain.ref;
    plan.add(std::move(step));
    plan.add(make_convert(plain, plan.output(), type, plan.table(), plan.threads()));
  }

  std::vector<bool> reduced_axes(const Shape& x) const {
    std::vector<bool> reduced(x.size(), axes_.empty());
    for (int64_t axis : axes_) reduced[resolve_axis(axis, x.size(), label_)] = true;
    return reduced;
  }

  bool max_, mean_;
  std::vector<int64_t> axes_;
  bool keepdims_;
};

}  // namespace

std::unique_ptr<Op> make_reduce(const Node& node) { return std::make_unique<Reduce>(node); }

}  // namespace glz
