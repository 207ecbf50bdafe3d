// Element-wise operators of one input. Codes go through a table of 256 results: exact.
#include <array>
#include <cmath>

#include "op_builders.h"
#include "rows.h"
#include "unary_functions.h"

namespace glz {
namespace {

constexpr int64_t kBlock = 256;  // floats on the stack between function and quantization

class UnaryStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const char* source = context.at(from.ref);
    char* target = context.at(to.ref);
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      span(source + (row * from.stride + column) * from.element_bytes(),
           target + (row * to.stride + column) * to.element_bytes(), count);
    });
  }

  // Computes the tables for codes of this scale.
  void make_tables(float input_scale) {
    for (int byte = 0; byte < 256; ++byte) {
      real_table[byte] = static_cast<float>(byte - zero_byte(from.type)) * input_scale;
    }
    map(real_table.data(), real_table.data(), 256, parameters);
    if (holds_codes(to.type)) {
      eltwise->quantize(real_table.data(), 1.0f / scale, byte_table.data(), to.type, 256);
    }
  }

  View from, to;
  Rows rows;
  float scale = 1.0f;  // of the output
  const EltwiseKernel* eltwise = nullptr;
  void (*map)(const float*, float*, int64_t, const UnaryParameters&) = nullptr;
  UnaryParameters parameters;
  std::array<float, 256> real_table{};
  std::array<uint8_t, 256> byte_table{};

 private:
  void span(const char* source, char* target, int64_t count) const {
    const auto* x = reinterpret_cast<const float*>(source);
    const auto* codes = reinterpret_cast<const uint8_t*>(source);
    auto* y = reinterpret_cast<float*>(target);
    if (holds_codes(from.type) && holds_codes(to.type)) {
      eltwise->lookup(codes, byte_table.data(), reinterpret_cast<uint8_t*>(target), count);
    } else if (holds_codes(from.type)) {
      for (int64_t i = 0; i < count; ++i) y[i] = real_table[codes[i]];
    } else if (to.type == ElementType::kF32) {
      map(x, y, count, parameters);
    } else {
      float block[kBlock];
      for (int64_t i = 0; i < count; i += kBlock) {
        const int64_t size = std::min(kBlock, count - i);
        map(x + i, block, size, parameters);
        eltwise->quantize(block, 1.0f / scale, reinterpret_cast<uint8_t*>(target) + i, to.type,
                          size);
      }
    }
  }
};

class Unary final : public Op {
 public:
  explicit Unary(const Node& node) : Op(node), function_(*find_unary(node.op())) {
    const auto read = [&](const char* name, double otherwise) {
      if (name == nullptr) return 0.0f;
      return static_cast<float>(std::isnan(otherwise) ? node.number(name)
                                                      : node.number(name, otherwise));
    };
    parameters_.p = read(function_.p_name, function_.p_default);
    parameters_.q = read(function_.q_name, function_.q_default);
    on_codes_ = node.op() == "relu";
    out_ = node.out_codes();
  }

  Traits traits() const override {
    Traits traits;
    traits.elementwise = true;
    return traits;
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const TensorType& x = *inputs[0];
    if (on_codes_ && x.quantized() && !out_.wanted()) return {x};
    return {out_.type(x.shape)};
  }

  void plan(OpPlan& plan) const override {
    auto step = std::make_unique<UnaryStep>();
    step->from = plan.input(0);
    step->to = plan.output();
    step->rows = Rows({&step->from, &step->to});
    step->scale = plan.output_type().scale;
    step->eltwise = &plan.table().eltwise;
    step->map = function_.map;
    step->parameters = parameters_;
    if (plan.input_type(0).quantized()) step->make_tables(plan.input_type(0).scale);
    step->kernel = holds_codes(step->from.type) ? "table" : function_.name;
    step->bytes = step->from.bytes() + step->to.bytes();
    step->tasks = step->rows.tasks(plan.threads(), step->bytes / kBytesPerNanosecond);
    plan.add(std::move(step));
  }

 private:
  const UnaryFunction& function_;
  UnaryParameters parameters_;
  bool on_codes_ = false;
  OutCodes out_;
};

}  // namespace

std::unique_ptr<Op> make_unary(const Node& node) { return std::make_unique<Unary>(node); }

}  // namespace glz
