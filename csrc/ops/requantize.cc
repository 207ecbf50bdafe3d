#include "requantize.h"

#include <array>

#include "convert.h"
#include "rows.h"

namespace glz {
namespace {

class RequantizeStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const uint8_t* source = context.at<uint8_t>(from.ref);
    uint8_t* target = context.at<uint8_t>(to.ref);
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      eltwise->lookup(element(source, from, row, column), table.data(),
                      element(target, to, row, column), count);
    });
  }
  View from, to;
  Rows rows;
  const EltwiseKernel* eltwise = nullptr;
  std::array<uint8_t, 256> table{};
};

}  // namespace

void add_requantize(OpPlan& plan, const View& from, const TensorType& x, const View& to,
                    const TensorType& y) {
  if (!(x.quantized() && y.quantized()) || (x.scale == y.scale && x.dtype == y.dtype)) {
    const TensorType& scale = y.quantized() ? y : x;
    return plan.add(make_convert(from, to, scale, plan.table(), plan.threads()));
  }
  auto step = std::make_unique<RequantizeStep>();
  step->from = from;
  step->to = to;
  step->rows = Rows({&from, &to});
  step->eltwise = &plan.table().eltwise;
  std::array<float, 256> real{};
  const int zero = zero_byte(from.type);
  for (int byte = 0; byte < 256; ++byte) real[byte] = static_cast<float>(byte - zero) * x.scale;
  step->eltwise->quantize(real.data(), 1.0f / y.scale, step->table.data(), to.type, 256);
  step->kernel = "table";
  step->bytes = from.bytes() + to.bytes();
  step->tasks = step->rows.tasks(plan.threads(), step->bytes / kBytesPerNanosecond);
  plan.add(std::move(step));
}

}  // namespace glz
