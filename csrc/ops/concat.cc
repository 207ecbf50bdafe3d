// Along channels the planner lets the producers write into the output; what it could not place is
// copied here. Along other axes: plain copies.
#include <algorithm>

#include "convert.h"
#include "epilogue.h"
#include "op_builders.h"
#include "requantize.h"

namespace glz {
namespace {

// Copies blocks of `length` bytes, one for each index before the axis, into wider rows.
class PlainConcatStep final : public Step {
 public:
  void run(const RunContext& context, int64_t, int) const override {
    const char* x = context.at(from);
    char* y = context.at(to) + begin;
    for (int64_t i = 0; i < count; ++i) std::copy_n(x + i * length, length, y + i * pitch);
  }
  Ref from, to;
  int64_t count = 0, length = 0, pitch = 0, begin = 0;
};

class Concat final : public Op {
 public:
  explicit Concat(const Node& node)
      : Op(node), axis_(node.integer("axis", 1)), tail_(read_tail(node)), inputs_(node.inputs()) {
    for (size_t i = 0; i < inputs_; ++i) {
      GLZ_CHECK(node.has_input(i), kGraph, label_ << ": input " << i << " is missing");
    }
  }

  Traits traits() const override {
    Traits traits;
    traits.concatenates = axis_ == 1;
    return traits;
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    for (size_t i = 0; i < inputs.size(); ++i) {
      Shape other = inputs[i]->shape;
      GLZ_CHECK(!inputs[i]->quantized() || tail_.out.wanted(), kShape,
                label_ << " concatenates int8 tensors without an out_scale");
      if (i == 0) continue;
      bool fits = other.size() == shape.size();
      for (size_t k = 0; fits && k < shape.size(); ++k) fits = k == axis || other[k] == shape[k];
      GLZ_CHECK(fits, kShape,
                label_ << ": inputs of shapes " << to_string(inputs[0]->shape) << " and "
                       << to_string(other) << " differ outside axis " << axis);
      shape[axis] += other[axis];
    }
    return {tail_.out.type(std::move(shape))};
  }

  void plan(OpPlan& plan) const override {
    const size_t axis = resolve_axis(axis_, plan.output_type().rank(), label_);
    if (axis == 1 && plan.output_home().layout == Layout::kPixels) {
      plan_channels(plan);
    } else {
      plan_plain(plan, axis);
    }
  }

 private:
  void plan_channels(OpPlan& plan) const {
    const View out = plan.output();
    int64_t channel = 0;
    for (size_t i = 0; i < inputs_; ++i) {
      const View x = plan.input(i);
      const View slice = channel_slice(out, channel, x.c);
      channel += x.c;
      const bool in_place = x.ref.storage == slice.ref.storage &&
                            x.ref.offset == slice.ref.offset && x.stride == slice.stride;
      if (!in_place) add_requantize(plan, x, plan.input_type(i), slice, plan.output_type());
    }
  }

  // Codes of one scale are copied as they are; others meet as real values.
  bool copies_codes(const OpPlan& plan) const {
    const TensorType& type = plan.output_type();
    for (size_t i = 0; i < inputs_; ++i) {
      const TensorType& x = plan.input_type(i);
      if (!x.quantized() || x.dtype != type.dtype || x.scale != type.scale) return false;
    }
    return true;
  }

  void plan_plain(OpPlan& plan, size_t axis) const {
    const TensorType& type = plan.output_type();
    const ElementType element = copies_codes(plan) ? element_type(type.dtype) : ElementType::kF32;
    const View plain = plan.temporary(plain_view(type, element));
    const int64_t inner = product(type.shape, axis + 1, type.rank()) * plain.element_bytes();
    int64_t begin = 0;
    for (size_t i = 0; i < inputs_; ++i) {
      auto step = std::make_unique<PlainConcatStep>();
      step->from = plan.input_as(i, Layout::kPlain, element).ref;
      step->to = plain.ref;
      step->count = product(type.shape, 0, axis);
      step->length = plan.input_type(i).shape[axis] * inner;
      step->pitch = type.shape[axis] * inner;
      step->begin = begin;
      step->kernel = "copy";
      step->bytes = 2 * step->count * step->length;
      begin += step->length;
      plan.add(std::move(step));
    }
    plan.add(make_convert(plain, plan.output(), type, plan.table(), plan.threads()));
  }

  int64_t axis_;
  Tail tail_;
  size_t inputs_;
};

}  // namespace

std::unique_ptr<Op> make_concat(const Node& node) { return std::make_unique<Concat>(node); }

}  // namespace glz
