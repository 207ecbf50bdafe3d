// A transposed convolution as plain ones, the kernel turned around. The output pixels of each phase
// (row mod stride, column mod stride) meet the same taps of the kernel: a convolution for each
// phase, whose results are interleaved. Where that is not possible (dilation with stride, a
// residual, a pad deeper than the kernel), zeros go between the input's pixels and there is one
// convolution.
#include <algorithm>

#include "conv_core.h"
#include "op_builders.h"
#include "partition.h"
#include "window.h"

namespace glz {
namespace {

// Writes the input's pixels `step` apart into a zero image; those outside it are left out.
class SpreadStep final : public Step {
 public:
  void run(const RunContext& context, int64_t image, int) const override {
    const int64_t size = from.element_bytes(), row = from.c * size;
    const char* source = context.at(from.ref) + image * from.h * from.w * from.stride * size;
    char* target = context.at(to.ref) + image * to.h * to.w * to.stride * size;
    std::memset(target, zero_byte(from.type), to.h * to.w * to.stride * size);
    for (int64_t y = 0; y < from.h; ++y) {
      const int64_t ty = top + y * sh;
      if (ty < 0 || ty >= to.h) continue;
      for (int64_t x = 0; x < from.w; ++x) {
        const int64_t tx = left + x * sw;
        if (tx < 0 || tx >= to.w) continue;
        std::memcpy(target + (ty * to.w + tx) * to.stride * size,
                    source + (y * from.w + x) * from.stride * size, row);
      }
    }
  }
  View from, to;
  int64_t top = 0, left = 0, sh = 1, sw = 1;
};

// The pixels of a phase go to their places in the output.
class InterleaveStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const int64_t size = from.element_bytes(), bytes = from.c * size;
    const Range part = part_of(from.n * from.h, task, tasks);
    for (int64_t row = part.begin; row < part.end; ++row) {
      const int64_t line = row / from.h * to.h + top + row % from.h * sh;
      const char* source = context.at(from.ref) + row * from.w * from.stride * size;
      char* target = context.at(to.ref) + (line * to.w + left) * to.stride * size;
      for (int64_t x = 0; x < from.w; ++x) {
        std::memcpy(target, source, bytes);
        source += from.stride * size;
        target += sw * to.stride * size;
      }
    }
  }
  View from, to;
  int64_t top = 0, left = 0, sh = 1, sw = 1;
};

// Output rows (or columns) first, first + stride, ... of one axis: their taps of the kernel, and
// where in the input they begin.
struct Phase {
  int64_t first = 0, remainder = 0, taps = 1, pad = 0;

  Phase(int64_t index, int64_t kernel, int64_t stride, int64_t before) {
    first = index;
    remainder = (index + before) % stride;
    taps = std::max<int64_t>(1, ceil_div(kernel - remainder, stride));
    pad = taps - 1 - (index + before) / stride;
  }
  // The kernel's tap that comes at place `i`; may lie outside the kernel.
  int64_t tap(int64_t i, int64_t stride) const { return remainder + stride * (taps - 1 - i); }
  int64_t outputs(int64_t length, int64_t stride) const {
    return first < length ? (length - 1 - first) / stride + 1 : 0;
  }
};

constexpr int64_t kMostPhases = 64;

class ConvTranspose2d final : public Op {
 public:
  explicit ConvTranspose2d(const Node& node)
      : Op(node),
        weight_(node.need_constant(1, "weight")),
        bias_(node.has_input(2) ? node.need_constant(2, "bias") : nullptr),
        tail_(read_tail(node)),
        window_(read_window(node)),
        output_pad_(read_sizes(node, "output_pad", 2, 0, {0, 0})),
        groups_(node.integer("groups", 1)),
        has_residual_(node.has_input(3)) {
    const Shape& w = weight_->shape;
    check_weight(*weight_, 4, "(C, O/groups, KH, KW)", label_);
    GLZ_CHECK(groups_ > 0 && w[0] % groups_ == 0, kShape,
              label_ << ": " << groups_ << " groups do not divide " << w[0] << " inputs");
    in_ = w[0];
    group_out_ = w[1];
    window_.kh = w[2];
    window_.kw = w[3];
    check_bias(bias_, group_out_ * groups_, label_);
    find_phases();
  }

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4 && x[1] == in_, kShape,
              label_ << ": input of shape " << to_string(x) << " must be (N, " << in_
                     << ", H, W), as the weight");
    const Window& k = window_;
    Shape out = {x[0], group_out_ * groups_,
                 (x[2] - 1) * k.sh + k.dh * (k.kh - 1) + 1 + output_pad_[0] - k.top - k.bottom,
                 (x[3] - 1) * k.sw + k.dw * (k.kw - 1) + 1 + output_pad_[1] - k.left - k.right};
    GLZ_CHECK(out[2] > 0 && out[3] > 0, kShape, label_ << ": pad leaves nothing of the output");
    check_residual(inputs.size() > 3 ? inputs[3] : nullptr, out, label_);
    return {tail_.out.type(std::move(out))};
  }

  bool absorbs(size_t i) const override { return i == 1 || i == 2; }

  Traits traits() const override {
    Traits traits;
    traits.reads_pads = true;
    return traits;
  }

  void prepare(const InputTypes& inputs, const std::vector<View>&,
               const KernelTable& table) override {
    const int64_t channels = in_ / groups_, out = group_out_, taps = window_.kh * window_.kw;
    Filter filter = empty_filter(*inputs[0], *weight_, 1, out * groups_, channels, window_.kh,
                                 window_.kw, groups_, label_);
    fill_filter(&filter, *weight_, in_, out, taps, [=](int64_t c, int64_t o, int64_t t) {
      return ((c / channels * out + o) * taps + taps - 1 - t) * channels + c % channels;
    });
    const Shape shape = infer(inputs)[0].shape;
    ConvGeometry geometry = dense_window().geometry({}, {});
    geometry.n = shape[0];
    if (rows_.empty()) {
      geometry.oh = shape[2];
      geometry.ow = shape[3];
      cores_.resize(1);
      return cores_[0].prepare(std::move(filter), geometry, bias_, tail_, *inputs[0], table);
    }
    cores_ = std::vector<ConvCore>(rows_.size() * columns_.size());
    for (size_t i = 0; i < cores_.size(); ++i) {
      const Phase &row = row_of(i), &column = column_of(i);
      geometry.oh = std::max<int64_t>(1, row.outputs(shape[2], window_.sh));
      geometry.ow = std::max<int64_t>(1, column.outputs(shape[3], window_.sw));
      cores_[i].prepare(phase_filter(filter, row, column), geometry, bias_, tail_, *inputs[0],
                        table);
    }
  }

  size_t weight_bytes() const override {
    size_t bytes = 0;
    for (const ConvCore& core : cores_) bytes += core.bytes();
    return bytes;
  }

  void plan(OpPlan& plan) const override {
    const View x = plan.input_as(0, Layout::kPixels, cores_[0].input_type());
    const View out = plan.output();
    if (rows_.empty()) return plan_spread(plan, x, out);
    for (size_t i = 0; i < cores_.size(); ++i) plan_phase(plan, x, out, i);
  }

 private:
  const Phase& row_of(size_t i) const { return rows_[i / columns_.size()]; }
  const Phase& column_of(size_t i) const { return columns_[i % columns_.size()]; }

  void find_phases() {
    const Window& k = window_;
    if (has_residual_ || k.dh != 1 || k.dw != 1 || k.sh > kMostPhases || k.sw > kMostPhases ||
        k.sh * k.sw > kMostPhases) {
      return;
    }
    for (int64_t i = 0; i < k.sh; ++i) rows_.emplace_back(i, k.kh, k.sh, k.top);
    for (int64_t i = 0; i < k.sw; ++i) columns_.emplace_back(i, k.kw, k.sw, k.left);
    const auto begins_late = [](const Phase& phase) { return phase.pad < 0; };
    if (std::any_of(rows_.begin(), rows_.end(), begins_late) ||
        std::any_of(columns_.begin(), columns_.end(), begins_late)) {
      rows_.clear();
    }
  }

  // `filter` is turned around: its tap i is the kernel's tap taps - 1 - i.
  Filter phase_filter(const Filter& filter, const Phase& row, const Phase& column) const {
    Filter phase = filter;
    phase.kh = row.taps;
    phase.kw = column.taps;
    const int64_t c = filter.channels;
    const auto select = [&](const auto& from, auto* to) {
      if (from.empty()) return;
      to->assign(filter.out * phase.taps() * c, 0);
      for (int64_t o = 0; o < filter.out; ++o) {
        for (int64_t i = 0; i < phase.taps(); ++i) {
          const int64_t y = row.tap(i / phase.kw, window_.sh);
          const int64_t x = column.tap(i % phase.kw, window_.sw);
          if (y >= filter.kh || x >= filter.kw) continue;
          const int64_t tap = filter.taps() - 1 - (y * filter.kw + x);
          std::copy_n(from.begin() + (o * filter.taps() + tap) * c, c,
                      to->begin() + (o * phase.taps() + i) * c);
        }
      }
    };
    select(filter.codes, &phase.codes);
    select(filter.values, &phase.values);
    return phase;
  }

  void plan_phase(OpPlan& plan, const View& x, const View& out, size_t index) const {
    const Phase &row = row_of(index), &column = column_of(index);
    View part = out;
    part.h = row.outputs(out.h, window_.sh);
    part.w = column.outputs(out.w, window_.sw);
    if (part.h == 0 || part.w == 0) return;
    const bool whole = cores_.size() == 1;
    if (!whole) {
      part.stride = channel_stride(part.c);
      part.sliced = false;
      part = plan.temporary(part);
    }
    Window window = dense_window();
    window.top = row.pad;
    window.left = column.pad;
    cores_[index].plan(plan, window.geometry(x, part), {x, {}}, nullptr, 0.0f, part);
    if (whole) return;
    auto step = std::make_unique<InterleaveStep>();
    step->from = part;
    step->to = out;
    step->top = row.first;
    step->left = column.first;
    step->sh = window_.sh;
    step->sw = window_.sw;
    step->kernel = "interleave";
    step->bytes = 2 * part.bytes();
    step->tasks = row_tasks(part.n * part.h, plan.threads(), step->bytes / kBytesPerNanosecond);
    plan.add(std::move(step));
  }

  void plan_spread(OpPlan& plan, const View& x, const View& out) const {
    auto spread = std::make_unique<SpreadStep>();
    spread->from = x;
    spread->sh = window_.sh;
    spread->sw = window_.sw;
    spread->top = window_.dh * (window_.kh - 1) - window_.top;
    spread->left = window_.dw * (window_.kw - 1) - window_.left;
    View wide = x;
    wide.h = out.h + window_.dh * (window_.kh - 1);
    wide.w = out.w + window_.dw * (window_.kw - 1);
    wide.stride = channel_stride(x.c);
    wide.sliced = false;
    spread->to = wide = plan.temporary(wide);
    spread->tasks = x.n;
    spread->kernel = "spread";
    spread->bytes = x.bytes() + wide.bytes();
    plan.add(std::move(spread));

    View residual;
    if (plan.has_input(3)) residual = plan.input(3);
    cores_[0].plan(plan, dense_window().geometry(wide, out), {wide, {}},
                   plan.has_input(3) ? &residual : nullptr,
                   plan.has_input(3) ? plan.input_type(3).scale : 0.0f, out);
  }

  // Of the convolutions: stride 1, no padding yet.
  Window dense_window() const {
    Window window = window_;
    window.sh = window.sw = 1;
    window.top = window.left = window.bottom = window.right = 0;
    return window;
  }

  const ModelTensor* weight_;
  const ModelTensor* bias_;
  Tail tail_;
  Window window_;
  std::vector<int64_t> output_pad_;
  int64_t groups_, in_ = 0, group_out_ = 0;
  bool has_residual_;
  std::vector<Phase> rows_, columns_;  // rows_ empty: zeros between the pixels instead
  std::vector<ConvCore> cores_;        // one a phase, row by row
};

}  // namespace

std::unique_ptr<Op> make_conv_transpose2d(const Node& node) {
  return std::make_unique<ConvTranspose2d>(node);
}

}  // namespace glz
