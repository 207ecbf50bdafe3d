#include "binary_codes.h"

#include "convert.h"
#include "rows.h"

namespace glz {
namespace {

constexpr int64_t kBlock = 256;  // floats on the stack

// What becomes of pieces of two operands of the same length.
struct CodesFunction {
  bool product = false;
  ElementType a_type = ElementType::kS8, b_type = ElementType::kS8, out_type = ElementType::kS8;
  float ma = 1.0f, mb = 1.0f;  // of add; mul has ma alone
  Epilogue tail;
  const EltwiseKernel* eltwise = nullptr;

  void operator()(const uint8_t* a, const uint8_t* b, uint8_t* y, int64_t count) const {
    const CodesPair pair = {a, b, y, a_type, b_type, out_type, count};
    if (product) return eltwise->mul_u8(pair, ma);
    eltwise->add_u8(pair, ma, mb, tail.leaky, tail.slope, tail.lo, tail.hi);
  }
  void operator()(const uint8_t* a, const uint8_t* b, float* y, int64_t count) const {
    if (product) {
      const int za = zero_byte(a_type), zb = zero_byte(b_type);
      for (int64_t i = 0; i < count; ++i) {
        y[i] = static_cast<float>((a[i] - za) * (b[i] - zb)) * ma;
      }
      return;
    }
    float left[kBlock], right[kBlock];
    for (int64_t i = 0; i < count; i += kBlock) {
      const int64_t size = std::min(kBlock, count - i);
      eltwise->dequantize(a + i, a_type, ma, left, size);
      eltwise->dequantize(b + i, b_type, mb, right, size);
      eltwise->add_f32(left, right, tail.leaky, tail.slope, tail.lo, tail.hi, y + i, size);
    }
  }
};

// Operands of the output's shape, or one number a channel.
class RowCodesStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      const uint8_t* pa = operand(context, a, row, column);
      const uint8_t* pb = operand(context, b, row, column);
      if (holds_codes(to.type)) {
        fn(pa, pb, element(context.at<uint8_t>(to.ref), to, row, column), count);
      } else {
        fn(pa, pb, element(context.at<float>(to.ref), to, row, column), count);
      }
    });
  }
  View a, b, to;
  Rows rows;
  CodesFunction fn;

 private:
  const uint8_t* operand(const RunContext& context, const View& view, int64_t row,
                         int64_t column) const {
    const bool one_a_channel = view.rows() < to.rows();
    return element(context.at<uint8_t>(view.ref), view, one_a_channel ? row / (to.h * to.w) : row,
                   column);
  }
};

// Row-major operands that broadcast; a task is a part of the output's lines along the last axis.
class BroadcastCodesStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const Range lines = part_of(product(shape, 0, shape.size() - 1), task, tasks);
    for (int64_t line = lines.begin; line < lines.end; ++line) {
      int64_t at_a = 0, at_b = 0, rest = line;
      for (size_t axis = shape.size() - 1; axis-- > 0; rest /= shape[axis]) {
        at_a += rest % shape[axis] * strides_a[axis];
        at_b += rest % shape[axis] * strides_b[axis];
      }
      const uint8_t *pa = context.at<uint8_t>(a.ref) + at_a,
                    *pb = context.at<uint8_t>(b.ref) + at_b;
      if (holds_codes(to.type)) {
        run_line(pa, pb, context.at<uint8_t>(to.ref) + line * shape.back());
      } else {
        run_line(pa, pb, context.at<float>(to.ref) + line * shape.back());
      }
    }
  }
  View a, b, to;
  Shape shape, strides_a, strides_b;
  CodesFunction fn;

 private:
  template <typename Y>
  void run_line(const uint8_t* pa, const uint8_t* pb, Y* y) const {
    uint8_t repeated[2][kBlock];
    for (int64_t i = 0; i < shape.back(); i += kBlock) {
      const int64_t size = std::min(kBlock, shape.back() - i);
      fn(piece(pa, strides_a.back(), i, size, repeated[0]),
         piece(pb, strides_b.back(), i, size, repeated[1]), y + i, size);
    }
  }
  static const uint8_t* piece(const uint8_t* x, int64_t stride, int64_t i, int64_t size,
                              uint8_t* repeated) {
    if (stride != 0) return x + i;
    std::fill_n(repeated, size, *x);
    return repeated;
  }
};

CodesFunction make_function(const OpPlan& plan, bool product, const Tail& tail) {
  CodesFunction fn;
  const double a = plan.input_type(0).scale, b = plan.input_type(1).scale;
  fn.product = product;
  fn.a_type = element_type(plan.input_type(0).dtype);
  fn.b_type = element_type(plan.input_type(1).dtype);
  fn.out_type = element_type(plan.output_type().dtype);
  fn.ma = static_cast<float>((product ? a * b : a) / tail.out_scale());
  fn.mb = static_cast<float>(b / tail.out_scale());
  fn.tail = make_epilogue(tail, tail.out_scale());
  fn.eltwise = &plan.table().eltwise;
  return fn;
}

template <typename StepKind>
void fill_costs(StepKind* step, bool product) {
  step->kernel = product ? "mul_u8" : "add_u8";
  step->bytes = step->a.bytes() + step->b.bytes() + step->to.bytes();
}

void plan_rows(OpPlan& plan, const CodesFunction& fn) {
  auto step = std::make_unique<RowCodesStep>();
  const Layout layout = plan.output_home().layout;
  step->a = plan.input_as(0, layout, fn.a_type);
  step->b = plan.input_as(1, layout, fn.b_type);
  step->to = plan.output();
  const bool equal = step->a.rows() == step->b.rows();
  step->rows = equal ? Rows({&step->a, &step->b, &step->to}) : Rows::each(step->to);
  step->fn = fn;
  fill_costs(step.get(), fn.product);
  step->tasks = step->rows.tasks(plan.threads(), step->bytes / kBytesPerNanosecond);
  plan.add(std::move(step));
}

void plan_broadcast(OpPlan& plan, const CodesFunction& fn) {
  auto step = std::make_unique<BroadcastCodesStep>();
  const TensorType& type = plan.output_type();
  step->a = plan.input_as(0, Layout::kPlain, fn.a_type);
  step->b = plan.input_as(1, Layout::kPlain, fn.b_type);
  step->shape = type.shape.empty() ? Shape{1} : type.shape;
  step->strides_a = broadcast_strides(plan.input_type(0).shape, step->shape.size());
  step->strides_b = broadcast_strides(plan.input_type(1).shape, step->shape.size());
  step->fn = fn;
  const View plain = plain_view(type, element_type(type.dtype));
  const bool direct = plan.output_home().row_major() && plan.output().row_major();
  step->to = direct ? plan.output() : plan.temporary(plain);
  fill_costs(step.get(), fn.product);
  step->tasks = row_tasks(product(step->shape, 0, step->shape.size() - 1), plan.threads(),
                          step->bytes / kBytesPerNanosecond);
  const View written = step->to;
  plan.add(std::move(step));
  if (!direct) {
    plan.add(make_convert(written, plan.output(), type, plan.table(), plan.threads()));
  }
}

}  // namespace

bool one_a_pixel_or_channel(const Shape& x, const Shape& y) {
  return x == y ||
         (x.size() == 4 && y.size() == 4 && x[0] == y[0] && x[1] == y[1] && x[2] == 1 && x[3] == 1);
}

Shape broadcast_strides(const Shape& x, size_t rank) {
  Shape strides(rank, 0);
  int64_t stride = 1;
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t n = x[x.size() - 1 - i];
    strides[rank - 1 - i] = n == 1 ? 0 : stride;
    stride *= n;
  }
  return strides;
}

void plan_binary_codes(OpPlan& plan, bool product, const Tail& tail) {
  const Shape &a = plan.input_type(0).shape, &b = plan.input_type(1).shape;
  const Shape& y = plan.output_type().shape;
  const CodesFunction fn = make_function(plan, product, tail);
  const bool fits = one_a_pixel_or_channel(a, y) && one_a_pixel_or_channel(b, y);
  if (a == b || (y.size() == 4 && fits)) return plan_rows(plan, fn);
  plan_broadcast(plan, fn);
}

}  // namespace glz
