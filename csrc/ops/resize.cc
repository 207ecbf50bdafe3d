// resize_bilinear, adaptive_avg_pool: images to other sizes.
#include <algorithm>

#include "convert.h"
#include "op_builders.h"
#include "partition.h"
#include "pool.h"

namespace glz {
namespace {

class Resize : public Op {
 public:
  Resize(const Node& node, const char* size)
      : Op(node), out_(node.out_codes()), size_(read_sizes(node, size, 2, 1, {})) {}

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4, kShape,
              label_ << ": input of shape " << to_string(x) << " must have four axes (N, C, H, W)");
    Shape shape = {x[0], x[1], size_[0], size_[1]};
    return {out_.type(std::move(shape))};
  }

 protected:
  OutCodes out_;
  std::vector<int64_t> size_;
};

// ---------------------------------------------------------------- bilinear
// The two cells that mix into an output cell, and the weight of the second.
struct Mix {
  int64_t low, high;
  float weight;
};

std::vector<Mix> make_mixes(int64_t length, int64_t size, bool align_corners) {
  std::vector<Mix> mixes;
  for (int64_t i = 0; i < size; ++i) {
    float at = static_cast<float>(i);
    if (size == 1) {
      at = 0;  // MXNet takes the first cell in both conventions
    } else if (align_corners) {
      at *= static_cast<float>(static_cast<double>(length - 1) / static_cast<double>(size - 1));
    } else {
      const float ratio =
          static_cast<float>(static_cast<double>(length) / static_cast<double>(size));
      at = std::max((at + 0.5f) * ratio - 0.5f, 0.0f);
    }
    const int64_t low = std::min(static_cast<int64_t>(at), length - 1);
    mixes.push_back({low, std::min(low + 1, length - 1), at - static_cast<float>(low)});
  }
  return mixes;
}

class BilinearStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const Range part = part_of(to.n * to.h, task, tasks);
    for (int64_t row = part.begin; row < part.end; ++row) {
      const Mix& r = rows[row % to.h];
      const int64_t image = row / to.h * from.h;
      for (int64_t column = 0; column < to.w; ++column) {
        const Mix& c = columns[column];
        const auto corner = [&](int64_t y, int64_t x) -> const void* {
          return context.at(from.ref) +
                 ((image + y) * from.w + x) * from.stride * from.element_bytes();
        };
        const void* corners[4] = {corner(r.low, c.low), corner(r.low, c.high),
                                  corner(r.high, c.low), corner(r.high, c.high)};
        eltwise->mix(corners, from.type, r.weight, c.weight, factor,
                     context.at(to.ref) + (row * to.w + column) * to.stride * to.element_bytes(),
                     to.type, to.c);
      }
    }
  }
  View from, to;
  std::vector<Mix> rows, columns;
  float factor = 1.0f;
  const EltwiseKernel* eltwise = nullptr;
};

class ResizeBilinear final : public Resize {
 public:
  explicit ResizeBilinear(const Node& node)
      : Resize(node, "size"), align_corners_(node.flag("align_corners", true)) {}

  void plan(OpPlan& plan) const override {
    auto step = std::make_unique<BilinearStep>();
    step->from = plan.input(0);
    step->to = plan.output();
    step->rows = make_mixes(step->from.h, step->to.h, align_corners_);
    step->columns = make_mixes(step->from.w, step->to.w, align_corners_);
    if (plan.input_type(0).quantized()) {
      step->factor = average_factor(plan.input_type(0).scale, out_.scale);
    } else if (out_.wanted()) {
      step->factor = 1.0f / out_.scale;
    }
    step->eltwise = &plan.table().eltwise;
    step->kernel = holds_codes(step->from.type) ? "mix_u8" : "mix_f32";
    step->bytes = step->from.bytes() + step->to.bytes();
    step->tasks = row_tasks(step->to.n * step->to.h, plan.threads(),
                            4.0 * step->to.bytes() / kBytesPerNanosecond);
    plan.add(std::move(step));
  }

 private:
  bool align_corners_;
};

// ---------------------------------------------------------------- adaptive average
// Each cell is a pool of one window.
class AdaptivePoolStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const Range part = part_of(to.n * to.h, task, tasks);
    PoolArgs a = args;
    for (int64_t row = part.begin; row < part.end; ++row) {
      const int64_t image = row / to.h * from.h, oh = row % to.h;
      const int64_t top = oh * from.h / to.h, bottom = ceil_div((oh + 1) * from.h, to.h);
      a.geometry.kh = bottom - top;
      for (int64_t ow = 0; ow < to.w; ++ow) {
        const int64_t left = ow * from.w / to.w;
        a.geometry.kw = ceil_div((ow + 1) * from.w, to.w) - left;
        a.input = context.at(from.ref) +
                  ((image + top) * from.w + left) * from.stride * from.element_bytes();
        a.output = context.at(to.ref) + (row * to.w + ow) * to.stride * to.element_bytes();
        pool(a, 0, 1);
      }
    }
  }
  View from, to;
  PoolArgs args{};
  void (*pool)(const PoolArgs&, int64_t, int64_t) = nullptr;
};

class AdaptiveAvgPool final : public Resize {
 public:
  explicit AdaptiveAvgPool(const Node& node) : Resize(node, "output") {}

  void plan(OpPlan& plan) const override {
    const View x = plan.input(0), home = plan.output_home();
    if (x.type == ElementType::kF32 && holds_codes(home.type)) {
      View real = home;
      real.type = ElementType::kF32;
      real = plan.temporary(real);
      add_step(plan, x, real);
      plan.add(make_convert(real, plan.output(), plan.output_type(), plan.table(), plan.threads()));
    } else {
      add_step(plan, x, plan.output());
    }
  }

 private:
  void add_step(OpPlan& plan, const View& x, const View& out) const {
    auto step = std::make_unique<AdaptivePoolStep>();
    const bool codes = holds_codes(x.type);
    View cell = out;
    cell.n = cell.h = cell.w = 1;
    step->from = x;
    step->to = out;
    step->args.geometry = Window().geometry(x, cell);
    step->args.geometry.n = 1;
    step->args.output_stride = out.stride;
    step->args.output_type = out.type;
    step->args.factor = codes ? average_factor(plan.input_type(0).scale, out_.scale) : 1.0f;
    step->pool = codes ? plan.table().pool.avg_u8 : plan.table().pool.avg_f32;
    step->kernel = codes ? "avg_u8" : "avg_f32";
    step->bytes = x.bytes() + out.bytes();
    step->tasks = row_tasks(out.n * out.h, plan.threads(), step->bytes / kBytesPerNanosecond);
    plan.add(std::move(step));
  }
};

}  // namespace

std::unique_ptr<Op> make_resize_bilinear(const Node& node) {
  return std::make_unique<ResizeBilinear>(node);
}
std::unique_ptr<Op> make_adaptive_avg_pool(const Node& node) {
  return std::make_unique<AdaptiveAvgPool>(node);
}

}  // namespace glz
