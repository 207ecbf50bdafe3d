#include "move_op.h"

#include "convert.h"
#include "partition.h"

namespace glz {
namespace {

class PlainMoveStep final : public Step {
 public:
  explicit PlainMoveStep(const MoveOp& op) : op_(op) {}
  void run(const RunContext& context, int64_t, int) const override {
    op_.move({context.at(x), context.at(y), element_bytes, zero, &x_shape, &y_shape, output});
  }
  Ref x, y;
  Shape x_shape, y_shape;
  int64_t element_bytes = 4;
  int zero = 0;
  size_t output = 0;

 private:
  const MoveOp& op_;
};

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

class PixelMoveStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const Range part = part_of(to.n * to.h, task, tasks);
    const int64_t size = to.element_bytes();
    for (int64_t row = part.begin; row < part.end; ++row) {
      const int64_t n = row / to.h - map.before[0];
      const int64_t h = floor_div(row % to.h - map.before[1], map.factor);
      char* target = context.at(to.ref) + row * to.w * to.stride * size;
      if (n < 0 || n >= from.n || h < 0 || h >= from.h) {
        fill(target, to.w);
        continue;
      }
      copy_row(context.at(from.ref) + (n * from.h + h) * from.w * from.stride * size, target);
    }
  }
  View from, to;
  PixelMap map;

 private:
  void copy_row(const char* source, char* target) const {
    const int64_t size = to.element_bytes(), left = std::clamp<int64_t>(map.before[2], 0, to.w);
    const int64_t right = std::clamp<int64_t>(from.w * map.factor + map.before[2], left, to.w);
    fill(target, left);
    fill(target + right * to.stride * size, to.w - right);
    target += left * to.stride * size;
    const int64_t first = left - map.before[2];
    if (map.factor == 1 && from.compact() && to.compact()) {
      std::memcpy(target, source + first * from.stride * size,
                  static_cast<size_t>((right - left) * to.stride * size));
      return;
    }
    for (int64_t i = first; i < right - map.before[2]; ++i, target += to.stride * size) {
      std::memcpy(target, source + i / map.factor * from.stride * size,
                  static_cast<size_t>(to.c * size));
    }
  }
  void fill(char* target, int64_t pixels) const {
    for (int64_t i = 0; i < pixels; ++i, target += to.stride * to.element_bytes()) {
      if (holds_codes(to.type)) {
        std::memset(target, zero_byte(to.type), static_cast<size_t>(to.c));
      } else {
        std::fill_n(reinterpret_cast<float*>(target), to.c, map.fill);
      }
    }
  }
};

}  // namespace

void MoveOp::plan_plain(OpPlan& plan, size_t output) const {
  auto step = std::make_unique<PlainMoveStep>(*this);
  const TensorType &x = plan.input_type(0), &y = plan.output_type(output);
  const ElementType element = element_type(y.dtype);
  step->x = plan.input_as(0, Layout::kPlain, element).ref;
  step->x_shape = x.shape;
  step->y_shape = y.shape;
  step->element_bytes = plain_view(y, element).element_bytes();
  step->zero = zero_byte(element);
  step->output = output;
  step->kernel = "move";
  step->bytes = (x.elements() + y.elements()) * step->element_bytes;
  if (plan.output_home(output).row_major() && plan.output(output).row_major()) {
    step->y = plan.output(output).ref;
    return plan.add(std::move(step));
  }
  const View plain = plan.temporary(plain_view(y, element));
  step->y = plain.ref;
  plan.add(std::move(step));
  plan.add(make_convert(plain, plan.output(output), y, plan.table(), plan.threads()));
}

void MoveOp::plan_pixels(OpPlan& plan, const PixelMap& map, size_t output) const {
  auto step = std::make_unique<PixelMoveStep>();
  step->from = plan.input(0);
  step->to = plan.output(output);
  step->map = map;
  step->kernel = "move";
  step->bytes = step->from.bytes() + step->to.bytes();
  step->tasks =
      row_tasks(step->to.n * step->to.h, plan.threads(), step->bytes / kBytesPerNanosecond);
  plan.add(std::move(step));
}

void MoveOp::plan_channels(OpPlan& plan, int64_t begin, int64_t count, size_t output) const {
  const View slice = channel_slice(plan.input(0), begin, count);
  // Kernels start at multiples of 4 channels; float32 pad lanes, which must be the slice's own to
  // be cleared, would be a neighbour's channels.
  const bool pads_are_free = holds_codes(slice.type) || count % kChannelAlign == 0;
  if (begin % kChannelAlign == 0 && pads_are_free) return plan.alias(output, slice);
  plan.add(make_convert(slice, plan.output(output), plan.output_type(output), plan.table(),
                        plan.threads()));
}

}  // namespace glz
