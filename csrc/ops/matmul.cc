// Batched matrix product of two computed tensors.
#include <algorithm>

#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class MatMul final : public PlainOp {
 public:
  explicit MatMul(const Node& node)
      : PlainOp(node),
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

  void compute(const PlainCall& call) const override {
    const Shape &a = call.x_type[0]->shape, &b = call.x_type[1]->shape, &y = call.y_type->shape;
    const Sizes s = sizes(a, b);
    const int64_t batch = product(y, 0, y.size() - 2);
    for (int64_t i = 0; i < batch; ++i) {
      multiply(s, call.x[0] + matrix(a, y, i) * s.m * s.k, call.x[1] + matrix(b, y, i) * s.k * s.n,
               call.y + i * s.m * s.n);
    }
  }

 protected:
  size_t run_time_inputs() const override { return 2; }

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

  void multiply(const Sizes& s, const float* a, const float* b, float* y) const {
    for (int64_t i = 0; i < s.m; ++i) {
      float* row = y + i * s.n;
      std::fill_n(row, s.n, 0.0f);
      for (int64_t k = 0; k < s.k; ++k) {
        const float factor = transpose_a_ ? a[k * s.m + i] : a[i * s.k + k];
        if (transpose_b_) {
          for (int64_t j = 0; j < s.n; ++j) row[j] += factor * b[j * s.k + k];
        } else {
          for (int64_t j = 0; j < s.n; ++j) row[j] += factor * b[k * s.n + j];
        }
      }
    }
  }

  bool transpose_a_, transpose_b_;
};

}  // namespace

std::unique_ptr<Op> make_matmul(const Node& node) { return std::make_unique<MatMul>(node); }

}  // namespace glz
