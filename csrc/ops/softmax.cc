#include <algorithm>
#include <cmath>

#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class Softmax final : public PlainOp {
 public:
  explicit Softmax(const Node& node)
      : PlainOp(node),
        axis_(node.integer("axis", -1)),
        temperature_(static_cast<float>(node.number("temperature", 1.0))),
        log_(node.op() == "log_softmax") {}

  bool per_image(const InputTypes& inputs) const override {
    return resolve_axis(axis_, inputs[0]->rank(), label_) != 0;
  }

  OutputTypes infer(const InputTypes& inputs) const override {
    resolve_axis(axis_, inputs[0]->rank(), label_);
    return {{inputs[0]->shape}};
  }

  void compute(const PlainCall& call) const override {
    const Shape& shape = call.y_type->shape;
    const size_t axis = resolve_axis(axis_, shape.size(), label_);
    const int64_t length = shape[axis], inner = product(shape, axis + 1, shape.size());
    const int64_t outer = product(shape, 0, axis);
    for (int64_t i = 0; i < outer * inner; ++i) {
      const int64_t start = i / inner * length * inner + i % inner;
      line(call.x[0] + start, call.y + start, length, inner);
    }
  }

 private:
  void line(const float* x, float* y, int64_t length, int64_t stride) const {
    float most = x[0] / temperature_;
    for (int64_t k = 0; k < length; ++k) {
      y[k * stride] = x[k * stride] / temperature_;
      most = std::max(most, y[k * stride]);
    }
    float sum = 0;
    for (int64_t k = 0; k < length; ++k) {
      y[k * stride] -= most;
      const float e = std::exp(y[k * stride]);
      if (!log_) y[k * stride] = e;
      sum += e;
    }
    const float log_sum = std::log(sum);
    for (int64_t k = 0; k < length; ++k) {
      float& value = y[k * stride];
      value = log_ ? value - log_sum : value / sum;
    }
  }

  int64_t axis_;
  float temperature_;
  bool log_;
};

}  // namespace

std::unique_ptr<Op> make_softmax(const Node& node) { return std::make_unique<Softmax>(node); }

}  // namespace glz
