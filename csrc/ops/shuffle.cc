// transpose, slice_axis, split, pad, upsample: operators that only move elements.
#include <algorithm>

#include "move_op.h"
#include "op_builders.h"

namespace glz {
namespace {

// Images lie pixel by pixel.
bool is_image(const OpPlan& plan) {
  return plan.input_type(0).rank() == 4 && plan.input_home(0).layout == Layout::kPixels;
}

// ---------------------------------------------------------------- transpose
template <typename T>
void transpose(const T* x, T* y, const Shape& lengths, const std::vector<int64_t>& strides) {
  const size_t last = lengths.size() - 1;
  std::vector<int64_t> index(lengths.size(), 0);
  const int64_t rows = product(lengths, 0, last), length = lengths[last], step = strides[last];
  int64_t at = 0;
  for (int64_t row = 0; row < rows; ++row, y += length) {
    if (step == 1) {
      std::copy_n(x + at, length, y);
    } else {
      for (int64_t i = 0; i < length; ++i) y[i] = x[at + i * step];
    }
    for (size_t axis = last; axis-- > 0;) {
      at += strides[axis];
      if (++index[axis] < lengths[axis]) break;
      at -= strides[axis] * lengths[axis];
      index[axis] = 0;
    }
  }
}

class Transpose final : public MoveOp {
 public:
  explicit Transpose(const Node& node) : MoveOp(node), axes_(node.list("axes")) {}

  bool per_image(const InputTypes&) const override { return axes_[0] == 0; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    Shape sorted = axes_, shape;
    std::sort(sorted.begin(), sorted.end());
    bool permutes = sorted.size() == x.size();
    for (size_t i = 0; permutes && i < x.size(); ++i) permutes = sorted[i] == int64_t(i);
    GLZ_CHECK(permutes, kShape,
              label_ << ": axes " << to_string(axes_) << " do not permute shape " << to_string(x));
    for (int64_t axis : axes_) shape.push_back(x[axis]);
    return {moved(*inputs[0], std::move(shape))};
  }

  void plan(OpPlan& plan) const override { plan_plain(plan); }

  void move(const MoveCall& call) const override {
    Shape lengths;
    std::vector<int64_t> strides;
    // Axes that stay neighbours count as one.
    for (size_t i = 0; i < axes_.size(); ++i) {
      const int64_t length = (*call.y_shape)[i];
      const int64_t stride = product(*call.x_shape, axes_[i] + 1, call.x_shape->size());
      if (!lengths.empty() && strides.back() == length * stride) {
        lengths.back() *= length;
        strides.back() = stride;
      } else {
        lengths.push_back(length);
        strides.push_back(stride);
      }
    }
    if (lengths.empty()) {
      lengths = {1};
      strides = {1};
    }
    if (call.element_bytes == 1) {
      transpose(call.x, call.y, lengths, strides);
    } else {
      transpose(reinterpret_cast<const float*>(call.x), reinterpret_cast<float*>(call.y), lengths,
                strides);
    }
  }

 private:
  std::vector<int64_t> axes_;
};

// ---------------------------------------------------------------- slices
// Copies rows [begin, begin + length) of an axis.
void copy_slice(const MoveCall& call, size_t axis, int64_t begin, int64_t length) {
  const Shape& x = *call.x_shape;
  const int64_t inner = product(x, axis + 1, x.size()) * call.element_bytes;
  const int64_t outer = product(x, 0, axis);
  for (int64_t i = 0; i < outer; ++i) {
    std::copy_n(call.x + (i * x[axis] + begin) * inner, length * inner,
                call.y + i * length * inner);
  }
}

class SliceAxis final : public MoveOp {
 public:
  explicit SliceAxis(const Node& node)
      : MoveOp(node),
        axis_(node.integer("axis")),
        begin_(node.integer("begin", 0)),
        end_(node.integer("end", (int64_t{1} << 31) - 1)) {}

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    const int64_t begin = bound(begin_, shape[axis]), end = bound(end_, shape[axis]);
    GLZ_CHECK(begin < end, kShape,
              label_ << ": [" << begin_ << ":" << end_ << "] of axis " << axis << " of shape "
                     << to_string(shape) << " is empty");
    shape[axis] = end - begin;
    return {moved(*inputs[0], std::move(shape))};
  }

  void plan(OpPlan& plan) const override {
    const Shape& x = plan.input_type(0).shape;
    const size_t axis = resolve_axis(axis_, x.size(), label_);
    const int64_t begin = bound(begin_, x[axis]);
    if (!is_image(plan)) return plan_plain(plan);
    if (axis == 1) return plan_channels(plan, begin, plan.output_type().shape[1]);
    PixelMap map;
    map.before[axis == 0 ? 0 : axis - 1] = -begin;
    plan_pixels(plan, map);
  }

  void move(const MoveCall& call) const override {
    const size_t axis = resolve_axis(axis_, call.x_shape->size(), label_);
    copy_slice(call, axis, bound(begin_, (*call.x_shape)[axis]), (*call.y_shape)[axis]);
  }

 private:
  // As Python's slices: negative counts from the end, anything outside is cut off.
  static int64_t bound(int64_t at, int64_t length) {
    return std::clamp<int64_t>(at < 0 ? at + length : at, 0, length);
  }
  int64_t axis_, begin_, end_;
};

class Split final : public MoveOp {
 public:
  explicit Split(const Node& node)
      : MoveOp(node),
        axis_(node.integer("axis", 1)),
        squeeze_(node.flag("squeeze", false)),
        parts_(static_cast<int64_t>(node.outputs())) {}

  bool per_image(const InputTypes&) const override { return true; }

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
    return OutputTypes(parts_, moved(*inputs[0], shape));
  }

  void plan(OpPlan& plan) const override {
    const Shape& x = plan.input_type(0).shape;
    const bool channels = resolve_axis(axis_, x.size(), label_) == 1;
    for (int64_t i = 0; i < parts_; ++i) {
      if (is_image(plan) && channels && !squeeze_) {
        plan_channels(plan, i * (x[1] / parts_), x[1] / parts_, i);
      } else {
        plan_plain(plan, i);
      }
    }
  }

  void move(const MoveCall& call) const override {
    const size_t axis = resolve_axis(axis_, call.x_shape->size(), label_);
    const int64_t length = (*call.x_shape)[axis] / parts_;
    copy_slice(call, axis, static_cast<int64_t>(call.output) * length, length);
  }

 private:
  int64_t axis_;
  bool squeeze_;
  int64_t parts_;
};

// ---------------------------------------------------------------- pad, upsample
class Pad final : public MoveOp {
 public:
  explicit Pad(const Node& node)
      : MoveOp(node),
        width_(node.list("width")),
        value_(static_cast<float>(node.number("value", 0.0))) {
    for (int64_t width : width_) {
      GLZ_CHECK(width >= 0 && width < (int64_t{1} << 31), kGraph,
                label_ << ": width is " << width << ", must not be negative");
    }
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    GLZ_CHECK(width_.size() == 2 * shape.size(), kShape,
              label_ << ": width " << to_string(width_) << " needs two numbers for each axis of "
                     << to_string(shape));
    GLZ_CHECK(!inputs[0]->quantized() || value_ == 0.0f, kShape,
              label_ << " pads int8 codes with " << value_ << "; only 0 keeps their scale");
    for (size_t i = 0; i < shape.size(); ++i) shape[i] += width_[2 * i] + width_[2 * i + 1];
    return {moved(*inputs[0], std::move(shape))};
  }

  void plan(OpPlan& plan) const override {
    if (!is_image(plan) || width_[2] != 0 || width_[3] != 0) return plan_plain(plan);
    PixelMap map;
    map.before[0] = width_[0];
    map.before[1] = width_[4];
    map.before[2] = width_[6];
    map.fill = value_;
    plan_pixels(plan, map);
  }

  void move(const MoveCall& call) const override {
    const int64_t count = product(*call.y_shape, 0, call.y_shape->size());
    if (call.element_bytes == 1) {
      std::fill_n(call.y, count, static_cast<char>(call.zero));
    } else {
      std::fill_n(reinterpret_cast<float*>(call.y), count, value_);
    }
    copy(call, 0, call.x, call.y);
  }

 private:
  void copy(const MoveCall& call, size_t axis, const char* x, char* y) const {
    const Shape &from = *call.x_shape, &to = *call.y_shape;
    if (from.empty()) {
      std::copy_n(x, call.element_bytes, y);
      return;
    }
    const int64_t x_step = product(from, axis + 1, from.size()) * call.element_bytes;
    const int64_t y_step = product(to, axis + 1, to.size()) * call.element_bytes;
    y += width_[2 * axis] * y_step;
    if (axis + 1 == from.size()) {
      std::copy_n(x, from[axis] * call.element_bytes, y);
      return;
    }
    for (int64_t i = 0; i < from[axis]; ++i) copy(call, axis + 1, x + i * x_step, y + i * y_step);
  }

  std::vector<int64_t> width_;
  float value_;
};

class Upsample final : public MoveOp {
 public:
  explicit Upsample(const Node& node) : MoveOp(node), factor_(node.integer("factor", 2)) {
    GLZ_CHECK(factor_ > 0 && factor_ < (int64_t{1} << 31), kGraph,
              label_ << ": factor is " << factor_ << ", must be positive");
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4, kShape,
              label_ << ": input of shape " << to_string(x) << " must have four axes (N, C, H, W)");
    return {moved(*inputs[0], {x[0], x[1], x[2] * factor_, x[3] * factor_})};
  }

  Traits traits() const override { return {}; }

  void plan(OpPlan& plan) const override {
    PixelMap map;
    map.factor = factor_;
    plan_pixels(plan, map);
  }

  void move(const MoveCall&) const override {}  // images always lie pixel by pixel

 private:
  int64_t factor_;
};

}  // namespace

std::unique_ptr<Op> make_transpose(const Node& node) { return std::make_unique<Transpose>(node); }
std::unique_ptr<Op> make_slice_axis(const Node& node) { return std::make_unique<SliceAxis>(node); }
std::unique_ptr<Op> make_split(const Node& node) { return std::make_unique<Split>(node); }
std::unique_ptr<Op> make_pad(const Node& node) { return std::make_unique<Pad>(node); }
std::unique_ptr<Op> make_upsample(const Node& node) { return std::make_unique<Upsample>(node); }

}  // namespace glz
