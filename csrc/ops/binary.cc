// add, sub, mul, div, maximum, minimum with NumPy broadcasting. Equal shapes run as they lie; one
// number a channel (squeeze and excitation) runs along pixels; anything else goes plain. add and
// mul of int8 operands: binary_codes.cc.
#include <algorithm>
#include <array>

#include "binary_codes.h"
#include "convert.h"
#include "epilogue.h"
#include "op_builders.h"
#include "plain_op.h"
#include "rows.h"

namespace glz {
namespace {

constexpr int64_t kBlock = 256;  // floats on the stack between function and quantization

using Map = void (*)(const float* a, const float* b, float* y, int64_t count);

float add(float a, float b) { return a + b; }
float sub(float a, float b) { return a - b; }
float mul(float a, float b) { return a * b; }
float div(float a, float b) { return a / b; }
float maximum(float a, float b) { return std::max(a, b); }
float minimum(float a, float b) { return std::min(a, b); }

template <float (*F)(float, float)>
void map(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) y[i] = F(a[i], b[i]);
}

struct BinaryFunction {
  const char* name;
  Map map;
};
const BinaryFunction kFunctions[] = {{"add", map<add>},         {"sub", map<sub>},
                                     {"mul", map<mul>},         {"div", map<div>},
                                     {"maximum", map<maximum>}, {"minimum", map<minimum>}};

void activate(const Epilogue& tail, float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (tail.leaky && y[i] < 0) y[i] *= tail.slope;
    y[i] = std::min(std::max(y[i], tail.lo), tail.hi);
  }
}

// float32 operands of equal shapes, or one of them a number for each channel of an image.
class BinaryStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      const float* pa = operand(context, a, row, column);
      const float* pb = operand(context, b, row, column);
      if (to.type == ElementType::kF32) {
        float* y = element(context.at<float>(to.ref), to, row, column);
        compute(pa, pb, y, count);
        return;
      }
      float block[kBlock];
      uint8_t* codes = element(context.at<uint8_t>(to.ref), to, row, column);
      for (int64_t i = 0; i < count; i += kBlock) {
        const int64_t size = std::min(kBlock, count - i);
        compute(pa + i, pb + i, block, size);
        eltwise->quantize(block, inverse_scale, codes + i, to.type, size);
      }
    });
  }
  View a, b, to;
  Rows rows;
  Map map = nullptr;
  bool activates = false;
  Epilogue tail;
  float inverse_scale = 1.0f;
  const EltwiseKernel* eltwise = nullptr;

 private:
  const float* operand(const RunContext& context, const View& view, int64_t row,
                       int64_t column) const {
    const int64_t pixels = to.h * to.w;
    const bool one_a_channel = view.h * view.w == 1 && pixels > 1;
    return element(context.at<float>(view.ref), view, one_a_channel ? row / pixels : row, column);
  }
  void compute(const float* pa, const float* pb, float* y, int64_t count) const {
    map(pa, pb, y, count);
    if (activates) activate(tail, y, count);
  }
};

class Binary final : public PlainOp {
 public:
  explicit Binary(const Node& node)
      : PlainOp(node),
        has_codes_(node.op() == "add" || node.op() == "mul"),
        function_(*std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                [&](const auto& f) { return node.op() == f.name; })),
        tail_(read_tail(node)) {}

  // Axis 0 of an operand of fewer axes meets another axis of the output.
  bool per_image(const InputTypes& inputs) const override {
    return inputs[0]->rank() == inputs[1]->rank();
  }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape &a = inputs[0]->shape, &b = inputs[1]->shape;
    Shape shape(std::max(a.size(), b.size()), 1);
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t m = i < a.size() ? a[a.size() - 1 - i] : 1;
      const int64_t n = i < b.size() ? b[b.size() - 1 - i] : 1;
      GLZ_CHECK(
          m == n || m == 1 || n == 1, kShape,
          label_ << ": shapes " << to_string(a) << " and " << to_string(b) << " do not broadcast");
      shape[shape.size() - 1 - i] = m == 1 ? n : m;
    }
    return {tail_.out.type(std::move(shape))};
  }

  void plan(OpPlan& plan) const override {
    const TensorType &a = plan.input_type(0), &b = plan.input_type(1);
    const Shape& y = plan.output_type().shape;
    if (has_codes_ && a.quantized() && b.quantized()) {
      return plan_binary_codes(plan, function_.map == map<mul>, tail_);
    }
    const bool fits = one_a_pixel_or_channel(a.shape, y) && one_a_pixel_or_channel(b.shape, y);
    if ((a.shape == b.shape) || (y.size() == 4 && fits)) return add_floats(plan);
    PlainOp::plan(plan);
  }

  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const size_t rank = shape.size();
    const Shape strides[2] = {broadcast_strides(call.x_type[0]->shape, rank),
                              broadcast_strides(call.x_type[1]->shape, rank)};
    std::array<int64_t, 32> index{};
    int64_t at[2] = {0, 0};
    const int64_t count = call.y_type->elements();
    for (int64_t i = 0; i < count; ++i) {
      function_.map(call.x[0] + at[0], call.x[1] + at[1], call.y + i, 1);
      for (size_t axis = rank; axis-- > 0;) {
        for (int k = 0; k < 2; ++k) at[k] += strides[k][axis];
        if (++index[axis] < shape[axis]) break;
        for (int k = 0; k < 2; ++k) at[k] -= strides[k][axis] * shape[axis];
        index[axis] = 0;
      }
    }
    if (tail_.act != Tail::Act::kNone) activate(make_epilogue(tail_, 1.0f), call.y, count);
  }

 protected:
  size_t run_time_inputs() const override { return 2; }

 private:
  void add_floats(OpPlan& plan) const {
    auto step = std::make_unique<BinaryStep>();
    const Layout layout = plan.output_home().layout;
    step->a = plan.input_as(0, layout, ElementType::kF32);
    step->b = plan.input_as(1, layout, ElementType::kF32);
    step->to = plan.output();
    const bool equal = step->a.rows() == step->b.rows();
    step->rows = equal ? Rows({&step->a, &step->b, &step->to}) : Rows::each(step->to);
    step->map = function_.map;
    step->activates = tail_.act != Tail::Act::kNone;
    step->tail = make_epilogue(tail_, 1.0f);
    step->inverse_scale = tail_.inverse_scale();
    step->kernel = function_.name;
    step->eltwise = &plan.table().eltwise;
    step->bytes = step->a.bytes() + step->b.bytes() + step->to.bytes();
    step->tasks = step->rows.tasks(plan.threads(), step->bytes / kBytesPerNanosecond);
    plan.add(std::move(step));
  }

  bool has_codes_;
  const BinaryFunction& function_;
  Tail tail_;
};

}  // namespace

std::unique_ptr<Op> make_binary(const Node& node) { return std::make_unique<Binary>(node); }

}  // namespace glz
