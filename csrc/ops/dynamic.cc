#include "dynamic.h"

#include <limits>

#include "magnitude.h"
#include "rows.h"

namespace glz {
namespace {

// The largest magnitude of each task's part.
class PeaksStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const float* base = context.at<float>(x.ref);
    Magnitude magnitude;
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      magnitude.take(base + row * x.stride + column, count);
    });
    context.at<float>(peaks)[task] = magnitude.largest();
  }

  View x;
  Rows rows;
  Ref peaks;
};

class ScaleStep final : public Step {
 public:
  void run(const RunContext& context, int64_t, int) const override {
    Magnitude magnitude;
    magnitude.take(context.at<float>(peaks), count);
    *context.at<float>(scale) = own_scale(magnitude.largest(), 8);
  }

  Ref peaks, scale;
  int64_t count = 0;
};

class QuantizeStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const float inverse = 1.0f / *context.at<float>(scale);
    const float* x = context.at<float>(from.ref);
    uint8_t* codes = context.at<uint8_t>(to.ref);
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      quantize(x + row * from.stride + column, inverse, codes + row * to.stride + column, to.type,
               count);
    });
  }

  View from, to;
  Ref scale;
  Rows rows;
  decltype(EltwiseKernel::quantize) quantize = nullptr;
};

class MultipliersStep final : public Step {
 public:
  void run(const RunContext& context, int64_t, int) const override {
    const double scale = *context.at<float>(x_scale);
    float* multiplier = context.at<float>(to);
    for (const float weight_scale : *weight_scales) {
      *multiplier++ = static_cast<float>(scale * weight_scale / static_cast<double>(out_scale));
    }
  }

  Ref x_scale, to;
  const std::vector<float>* weight_scales = nullptr;
  float out_scale = 1.0f;
};

Ref floats(OpPlan& plan, int64_t count) {
  View view;
  view.c = view.stride = count;
  return plan.temporary(view).ref;
}

}  // namespace

float own_scale(float largest, int bits) {
  const float scale = largest / static_cast<float>((1 << (bits - 1)) - 1);
  return scale <= std::numeric_limits<float>::min() ? 1.0f : scale;  // NaN stays
}

DynamicCodes add_dynamic_quantize(OpPlan& plan, const View& x) {
  const double nanoseconds = x.bytes() / kBytesPerNanosecond;
  View codes = x;
  codes.type = ElementType::kS8;
  if (x.sliced) codes.stride = channel_stride(x.c);
  codes.sliced = false;
  codes = plan.temporary(codes);

  auto peaks = std::make_unique<PeaksStep>();
  peaks->x = x;
  // Pad lanes hold anything.
  peaks->rows = x.compact() && x.stride == x.c ? Rows({&x}) : Rows::each(x);
  peaks->tasks = peaks->rows.tasks(plan.threads(), nanoseconds);
  peaks->peaks = floats(plan, peaks->tasks);
  peaks->kernel = "dynamic_scale";
  peaks->bytes = x.bytes();

  auto scale = std::make_unique<ScaleStep>();
  scale->peaks = peaks->peaks;
  scale->count = peaks->tasks;
  scale->scale = floats(plan, 1);
  scale->kernel = "dynamic_scale";

  auto quantize = std::make_unique<QuantizeStep>();
  quantize->from = x;
  quantize->to = codes;
  quantize->scale = scale->scale;
  quantize->rows = Rows({&quantize->from, &quantize->to});
  quantize->tasks = quantize->rows.tasks(plan.threads(), 1.25 * nanoseconds);
  quantize->quantize = plan.table().eltwise.quantize;
  quantize->kernel = "quantize";
  quantize->bytes = x.bytes() + codes.bytes();

  const DynamicCodes result = {codes, scale->scale};
  plan.add(std::move(peaks));
  plan.add(std::move(scale));
  plan.add(std::move(quantize));
  return result;
}

Ref add_multipliers(OpPlan& plan, const Ref& scale, const std::vector<float>& weight_scales,
                    float out_scale) {
  auto step = std::make_unique<MultipliersStep>();
  step->x_scale = scale;
  // Kernels may read up to the next multiple of 64 channels.
  const auto channels = static_cast<int64_t>(weight_scales.size());
  const Ref to = step->to = floats(plan, (channels + 63) / 64 * 64 + 64);
  step->weight_scales = &weight_scales;
  step->out_scale = out_scale;
  step->kernel = "dynamic_scale";
  plan.add(std::move(step));
  return to;
}

}  // namespace glz
