// Batched matrix product of two computed tensors, by the float32 convolution kernel.
#include <algorithm>
#include <utility>

#include "../base/buffer.h"
#include "convert.h"
#include "op_builders.h"

namespace glz {
namespace {

// y[i][j] = x[j][i]
void transpose(const float* x, int64_t rows, int64_t columns, float* y) {
  constexpr int64_t kTile = 16;
  for (int64_t top = 0; top < rows; top += kTile) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t end = std::min(rows, top + kTile);
      for (int64_t i = top; i < end; ++i) y[j * rows + i] = x[i * columns + j];
    }
  }
}

// One product a task: b is packed as the weights of a 1x1 convolution over the rows of a.
class MatMulStep final : public Step {
 public:
  MatMulStep(const ConvF32Kernel& kernel, int64_t m, int64_t k, int64_t n)
      : kernel_(kernel), m_(m), k_(k), n_(n), zeros_(round_up(n, 64) * sizeof(float)) {
    std::memset(zeros_.data(), 0, zeros_.size());
    geometry_.n = geometry_.h = geometry_.oh = 1;
    geometry_.w = geometry_.ow = m;
    geometry_.channels = geometry_.stride_c = k;
    geometry_.kh = geometry_.kw = geometry_.sh = geometry_.sw = geometry_.dh = geometry_.dw = 1;
    geometry_.out_channels = n;
    packed_ = room(kernel.packed_bytes(geometry_));
    turned_a_ = room(static_cast<size_t>(m * k) * sizeof(float));
    turned_b_ = room(static_cast<size_t>(k * n) * sizeof(float));
    workspace = packed_ + turned_a_ + turned_b_ + room(kernel.workspace_bytes(geometry_));
  }

  void run(const RunContext& context, int64_t task, int thread) const override {
    char* scratch = static_cast<char*>(context.scratch(thread));
    const float* x = context.at<float>(a) + pairs[task].first * m_ * k_;
    const float* w = context.at<float>(b) + pairs[task].second * k_ * n_;
    if (transpose_a) {
      float* turned = reinterpret_cast<float*>(scratch + packed_);
      transpose(x, k_, m_, turned);
      x = turned;
    }
    if (!transpose_b) {
      float* turned = reinterpret_cast<float*>(scratch + packed_ + turned_a_);
      transpose(w, k_, n_, turned);
      w = turned;
    }
    kernel_.pack(geometry_, w, scratch);
    ConvF32Args args{};
    args.geometry = geometry_;
    args.input = x;
    args.packed = scratch;
    args.workspace = scratch + packed_ + turned_a_ + turned_b_;
    args.epilogue.bias = zeros_.as<float>();
    args.epilogue.output = context.at<float>(y) + task * m_ * n_;
    args.epilogue.output_stride = n_;
    kernel_.run(args, 0, m_, 0, ceil_div(n_, kernel_.panel));
  }

  Ref a, b, y;
  bool transpose_a = false, transpose_b = false;
  std::vector<std::pair<int64_t, int64_t>> pairs;  // which matrices of a and b

 private:
  static size_t room(size_t bytes) { return round_up(bytes + 64, 64); }

  const ConvF32Kernel& kernel_;
  const int64_t m_, k_, n_;
  ConvGeometry geometry_{};
  size_t packed_ = 0, turned_a_ = 0, turned_b_ = 0;
  Buffer zeros_;  // the bias
};

class MatMul final : public Op {
 public:
  explicit MatMul(const Node& node)
      : Op(node),
        transpose_a_(node.flag("transpose_a", false)),
        transpose_b_(node.flag("transpose_b", false)) {}

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape &a = inputs[0]->shape, &b = inputs[1]->shape;
    GLZ_CHECK(a.size() >= 2 && b.size() >= 2, kShape,
              label_ << ": " << to_string(a) << " and " << to_string(b)
                     << " must have at least two axes");
    const Sizes s = sizes(a, b);
    GLZ_CHECK(s.k == s.other_k, kShape,
              label_ << ": shapes " << to_string(a) << " and " << to_string(b)
                     << " do not multiply: " << s.k << " columns, " << s.other_k << " rows");
    Shape shape(std::max(a.size(), b.size()) - 2, 1);
    for (size_t i = 0; i < shape.size(); ++i) {
      const int64_t m = batch_axis(a, i), n = batch_axis(b, i);
      GLZ_CHECK(
          m == n || m == 1 || n == 1, kShape,
          label_ << ": shapes " << to_string(a) << " and " << to_string(b) << " do not broadcast");
      shape[shape.size() - 1 - i] = m == 1 ? n : m;
    }
    shape.push_back(s.m);
    shape.push_back(s.n);
    return {{shape}};
  }

  void plan(OpPlan& plan) const override {
    const TensorType& type = plan.output_type();
    const Shape &a = plan.input_type(0).shape, &b = plan.input_type(1).shape, &y = type.shape;
    const Sizes s = sizes(a, b);
    auto step = std::make_unique<MatMulStep>(plan.table().conv_f32, s.m, s.k, s.n);
    step->a = plan.input_as(0, Layout::kPlain, ElementType::kF32).ref;
    step->b = plan.input_as(1, Layout::kPlain, ElementType::kF32).ref;
    step->transpose_a = transpose_a_;
    step->transpose_b = transpose_b_;
    for (int64_t i = 0; i < product(y, 0, y.size() - 2); ++i) {
      step->pairs.push_back({matrix(a, y, i), matrix(b, y, i)});
    }
    step->tasks = static_cast<int64_t>(step->pairs.size());
    step->kernel = "conv_f32";
    step->macs = step->tasks * s.m * s.k * s.n;
    step->bytes = 4 * (product(a, 0, a.size()) + product(b, 0, b.size()) + type.elements());
    const bool direct = plan.output_home().row_major() && plan.output().row_major();
    const View to = direct ? plan.output() : plan.temporary(plain_view(type, ElementType::kF32));
    step->y = to.ref;
    plan.add(std::move(step));
    if (!direct) plan.add(make_convert(to, plan.output(), type, plan.table(), plan.threads()));
  }

 private:
  struct Sizes {
    int64_t m, k, other_k, n;
  };
  Sizes sizes(const Shape& a, const Shape& b) const {
    const int64_t rows_a = a[a.size() - 2], rows_b = b[b.size() - 2];
    return {transpose_a_ ? a.back() : rows_a, transpose_a_ ? rows_a : a.back(),
            transpose_b_ ? b.back() : rows_b, transpose_b_ ? rows_b : b.back()};
  }

  // Axis i of the batch, counted from the last; 1 where there is none.
  static int64_t batch_axis(const Shape& x, size_t i) {
    return i + 2 < x.size() ? x[x.size() - 3 - i] : 1;
  }

  // Which matrix of x belongs to matrix `index` of y.
  static int64_t matrix(const Shape& x, const Shape& y, int64_t index) {
    int64_t at = 0, stride = 1;
    for (size_t i = 0; i + 2 < y.size(); ++i) {
      const int64_t length = batch_axis(y, i), own = batch_axis(x, i);
      if (own > 1) at += index % length * stride;
      index /= length;
      stride *= own;
    }
    return at;
  }

  bool transpose_a_, transpose_b_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const Node& node) { return std::make_unique<MatMul>(node); }

}  // namespace glz
