#include "pool.h"
#include "convert.h"
#include "op_builders.h"
#include "partition.h"

namespace glz {
namespace {

// Channels are cut into blocks of this many, so that a global pool has work for every thread.
constexpr int64_t kChannelBlock = 64;

class PoolStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    PoolArgs a = args;
    const Range rows = grid.row_range(task), blocks = grid.panel_range(task);
    const int64_t first = blocks.begin * kChannelBlock;
    a.geometry.channels = std::min(blocks.end * kChannelBlock, args.geometry.channels) - first;
    a.geometry.out_channels = a.geometry.channels;
    a.input = context.at(input.ref) + first * input.element_bytes();
    a.output = context.at(output.ref) + first * output.element_bytes();
    kernel_run(a, rows.begin, rows.end);
  }

  void (*kernel_run)(const PoolArgs&, int64_t, int64_t);
  PoolArgs args{};
  View input, output;
  Grid grid;
};

}  // namespace

void add_pool(OpPlan& plan, const View& x, const View& out, const Window& window,
              const PoolKind& kind) {
  auto step = std::make_unique<PoolStep>();
  PoolArgs& a = step->args;
  a.geometry = window.geometry(x, out);
  a.pad_bottom = window.bottom;
  a.pad_right = window.right;
  a.count_pad = kind.count_pad;
  a.output_stride = out.stride;
  a.output_type = out.type;
  a.factor = holds_codes(x.type) ? kind.factor : 1.0f;
  const PoolKernel& pool = plan.table().pool;
  const bool codes = holds_codes(x.type);
  step->kernel_run =
      kind.average ? (codes ? pool.avg_u8 : pool.avg_f32) : (codes ? pool.max_u8 : pool.max_f32);
  step->kernel = kind.average ? (codes ? "avg_u8" : "avg_f32") : (codes ? "max_u8" : "max_f32");
  step->input = x;
  step->output = out;
  step->bytes = x.bytes() + out.bytes();
  const double reads = static_cast<double>(out.rows()) * window.kh * window.kw * x.c;
  step->grid = make_grid(out.n * out.h, ceil_div(x.c, kChannelBlock), plan.threads(),
                         {reads * x.element_bytes() / kBytesPerNanosecond, 0, 0});
  step->tasks = step->grid.tasks();
  plan.add(std::move(step));
}

void plan_pool(OpPlan& plan, const Window& window, const PoolKind& kind) {
  const View x = plan.input(0);
  const View out = plan.output_home();
  // The float kernels do not quantize.
  if (x.type == ElementType::kF32 && holds_codes(out.type)) {
    View real = out;
    real.type = ElementType::kF32;
    real = plan.temporary(real);
    add_pool(plan, x, real, window, kind);
    plan.add(make_convert(real, plan.output(), plan.output_type(), plan.table(), plan.threads()));
  } else {
    add_pool(plan, x, plan.output(), window, kind);
  }
}

float average_factor(float input_scale, float out_scale) {
  return static_cast<float>(static_cast<double>(input_scale) /
                            static_cast<double>(out_scale > 0 ? out_scale : 1.0f));
}

namespace {

class Pool final : public Op {
 public:
  Pool(const Node& node, bool global)
      : Op(node),
        average_(node.op() == "avg_pool" || node.op() == "global_avg_pool"),
        global_(global) {
    if (!global) {
      window_ = read_window(node);
      const auto kernel = read_sizes(node, "kernel", 2, 1, {});
      window_.kh = kernel[0];
      window_.kw = kernel[1];
      window_.ceil_mode = node.flag("ceil_mode", false);
      count_pad_ = node.flag("count_pad", true);
    }
    out_ = node.out_codes();
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4, kShape,
              label_ << ": input of shape " << to_string(x) << " must have four axes (N, C, H, W)");
    const Window window = window_of(x[2], x[3]);
    TensorType out{{x[0], x[1], window.out_height(x[2], label_), window.out_width(x[3], label_)}};
    if (out_.wanted()) {
      out.dtype = out_.dtype;
      out.scale = out_.scale;
    } else if (!average_) {
      out.dtype = inputs[0]->dtype;
      out.scale = inputs[0]->scale;
    }
    return {out};
  }

  void plan(OpPlan& plan) const override {
    const Shape& x = plan.input_type(0).shape;
    const float factor = average_factor(plan.input_type(0).scale, out_.scale);
    plan_pool(plan, window_of(x[2], x[3]), {average_, count_pad_, factor});
  }

 private:
  Window window_of(int64_t h, int64_t w) const {
    Window window = window_;
    if (global_) {
      window.kh = h;
      window.kw = w;
    }
    return window;
  }

  bool average_, global_;
  bool count_pad_ = true;
  OutCodes out_;
  Window window_;
};

}  // namespace

std::unique_ptr<Op> make_pool(const Node& node) { return std::make_unique<Pool>(node, false); }
std::unique_ptr<Op> make_global_pool(const Node& node) {
  return std::make_unique<Pool>(node, true);
}

}  // namespace glz
