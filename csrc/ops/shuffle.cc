// transpose, slice_axis, split, pad: operators that only move elements.
#include <algorithm>

#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class Transpose final : public PlainOp {
 public:
  explicit Transpose(const Node& node) : PlainOp(node), axes_(node.list("axes")) {}

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    Shape sorted = axes_, shape;
    std::sort(sorted.begin(), sorted.end());
    bool permutes = sorted.size() == x.size();
    for (size_t i = 0; permutes && i < x.size(); ++i) permutes = sorted[i] == int64_t(i);
    GLZ_CHECK(permutes, kShape,
              label_ << ": axes " << to_string(axes_) << " do not permute shape " << to_string(x));
    for (int64_t axis : axes_) shape.push_back(x[axis]);
    return {moved_type(*inputs[0], std::move(shape))};
  }

  void compute(const PlainCall& call) const override {
    const Shape& from = call.x_type[0]->shape;
    const Shape& to = call.y_type->shape;
    const size_t rank = to.size();
    std::vector<int64_t> stride(rank), index(rank, 0);
    for (size_t i = 0; i < rank; ++i) stride[i] = product(from, axes_[i] + 1, rank);
    const int64_t count = call.y_type->elements();
    int64_t at = 0;
    for (int64_t i = 0; i < count; ++i) {
      call.y[i] = call.x[0][at];
      for (size_t axis = rank; axis-- > 0;) {
        at += stride[axis];
        if (++index[axis] < to[axis]) break;
        at -= stride[axis] * to[axis];
        index[axis] = 0;
      }
    }
  }

 private:
  std::vector<int64_t> axes_;
};

// Copies rows [begin, begin + length) of an axis.
void copy_slice(const PlainCall& call, size_t axis, int64_t begin, int64_t length) {
  const Shape& x = call.x_type[0]->shape;
  const int64_t inner = product(x, axis + 1, x.size()), outer = product(x, 0, axis);
  for (int64_t i = 0; i < outer; ++i) {
    std::copy_n(call.x[0] + (i * x[axis] + begin) * inner, length * inner,
                call.y + i * length * inner);
  }
}

class SliceAxis final : public PlainOp {
 public:
  explicit SliceAxis(const Node& node)
      : PlainOp(node),
        axis_(node.integer("axis")),
        begin_(node.integer("begin", 0)),
        end_(node.integer("end", (int64_t{1} << 31) - 1)) {}

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    const int64_t begin = bound(begin_, shape[axis]), end = bound(end_, shape[axis]);
    GLZ_CHECK(begin < end, kShape,
              label_ << ": [" << begin_ << ":" << end_ << "] of axis " << axis << " of shape "
                     << to_string(shape) << " is empty");
    shape[axis] = end - begin;
    return {moved_type(*inputs[0], std::move(shape))};
  }

  void compute(const PlainCall& call) const override {
    const Shape& x = call.x_type[0]->shape;
    const size_t axis = resolve_axis(axis_, x.size(), label_);
    copy_slice(call, axis, bound(begin_, x[axis]), call.y_type->shape[axis]);
  }

 private:
  // As Python's slices: negative counts from the end, anything outside is cut off.
  static int64_t bound(int64_t at, int64_t length) {
    return std::clamp<int64_t>(at < 0 ? at + length : at, 0, length);
  }
  int64_t axis_, begin_, end_;
};

class Split final : public PlainOp {
 public:
  explicit Split(const Node& node)
      : PlainOp(node),
        axis_(node.integer("axis", 1)),
        squeeze_(node.flag("squeeze", false)),
        parts_(static_cast<int64_t>(node.outputs())) {}

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    GLZ_CHECK(parts_ > 0 && shape[axis] % parts_ == 0, kShape,
              label_ << ": axis " << axis << " of shape " << to_string(shape) << " has no "
                     << parts_ << " equal parts");
    shape[axis] /= parts_;
    if (squeeze_) {
      GLZ_CHECK(shape[axis] == 1, kShape,
                label_ << ": parts of length " << shape[axis] << " cannot be squeezed");
      shape.erase(shape.begin() + static_cast<int64_t>(axis));
    }
    return OutputTypes(parts_, TensorType{shape});
  }

  void plan(OpPlan& plan) const override {
    for (int64_t i = 0; i < parts_; ++i) plan_output(plan, i);
  }

  void compute(const PlainCall&) const override {}

 protected:
  void compute_output(const PlainCall& call, size_t output) const override {
    const Shape& x = call.x_type[0]->shape;
    const size_t axis = resolve_axis(axis_, x.size(), label_);
    const int64_t length = x[axis] / parts_;
    copy_slice(call, axis, static_cast<int64_t>(output) * length, length);
  }

 private:
  int64_t axis_;
  bool squeeze_;
  int64_t parts_;
};

class Pad final : public PlainOp {
 public:
  explicit Pad(const Node& node)
      : PlainOp(node),
        width_(node.list("width")),
        value_(static_cast<float>(node.number("value", 0.0))) {
    for (int64_t width : width_) {
      GLZ_CHECK(width >= 0 && width < (int64_t{1} << 31), kGraph,
                label_ << ": width is " << width << ", must not be negative");
    }
  }

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    GLZ_CHECK(width_.size() == 2 * shape.size(), kShape,
              label_ << ": width " << to_string(width_) << " needs two numbers for each axis of "
                     << to_string(shape));
    GLZ_CHECK(!inputs[0]->quantized() || value_ == 0.0f, kShape,
              label_ << " pads int8 codes with " << value_ << "; only 0 keeps their scale");
    for (size_t i = 0; i < shape.size(); ++i) shape[i] += width_[2 * i] + width_[2 * i + 1];
    return {moved_type(*inputs[0], std::move(shape))};
  }

  void compute(const PlainCall& call) const override {
    std::fill_n(call.y, call.y_type->elements(), value_);
    copy(call, 0, call.x[0], call.y);
  }

 private:
  void copy(const PlainCall& call, size_t axis, const float* x, float* y) const {
    const Shape& from = call.x_type[0]->shape;
    const Shape& to = call.y_type->shape;
    const int64_t x_step = product(from, axis + 1, from.size());
    const int64_t y_step = product(to, axis + 1, to.size());
    y += width_[2 * axis] * y_step;
    if (axis + 1 == from.size()) {
      std::copy_n(x, from[axis], y);
      return;
    }
    for (int64_t i = 0; i < from[axis]; ++i) copy(call, axis + 1, x + i * x_step, y + i * y_step);
  }

  std::vector<int64_t> width_;
  float value_;
};

}  // namespace

std::unique_ptr<Op> make_transpose(const Node& node) { return std::make_unique<Transpose>(node); }
std::unique_ptr<Op> make_slice_axis(const Node& node) { return std::make_unique<SliceAxis>(node); }
std::unique_ptr<Op> make_split(const Node& node) { return std::make_unique<Split>(node); }
std::unique_ptr<Op> make_pad(const Node& node) { return std::make_unique<Pad>(node); }

}  // namespace glz
