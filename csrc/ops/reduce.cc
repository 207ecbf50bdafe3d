// mean, sum, max over axes.
#include <algorithm>
#include <limits>

#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class Reduce final : public PlainOp {
 public:
  explicit Reduce(const Node& node)
      : PlainOp(node),
        max_(node.op() == "max"),
        mean_(node.op() == "mean"),
        axes_(node.list("axes", {})),
        keepdims_(node.flag("keepdims", false)) {}

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    const std::vector<bool> reduced = reduced_axes(x);
    Shape shape;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!reduced[i]) shape.push_back(x[i]);
      if (reduced[i] && keepdims_) shape.push_back(1);
    }
    return {output_type(std::move(shape))};
  }

  void compute(const PlainCall& call) const override {
    const Shape& x = call.x_type[0]->shape;
    const std::vector<bool> reduced = reduced_axes(x);
    // Output elements between neighbours along each input axis; 0 along reduced ones.
    std::vector<int64_t> stride(x.size(), 0), index(x.size(), 0);
    int64_t outputs = 1;
    for (size_t i = x.size(); i-- > 0;) {
      if (reduced[i]) continue;
      stride[i] = outputs;
      outputs *= x[i];
    }
    std::vector<double> sums(outputs, max_ ? -std::numeric_limits<double>::infinity() : 0.0);
    const int64_t count = call.x_type[0]->elements();
    int64_t at = 0;
    for (int64_t i = 0; i < count; ++i) {
      sums[at] = max_ ? std::max<double>(sums[at], call.x[0][i]) : sums[at] + call.x[0][i];
      for (size_t axis = x.size(); axis-- > 0;) {
        at += stride[axis];
        if (++index[axis] < x[axis]) break;
        at -= stride[axis] * x[axis];
        index[axis] = 0;
      }
    }
    const double divisor = mean_ ? static_cast<double>(count / std::max<int64_t>(outputs, 1)) : 1.0;
    for (int64_t i = 0; i < outputs; ++i) call.y[i] = static_cast<float>(sums[i] / divisor);
  }

 private:
  std::vector<bool> reduced_axes(const Shape& x) const {
    std::vector<bool> reduced(x.size(), axes_.empty());
    for (int64_t axis : axes_) reduced[resolve_axis(axis, x.size(), label_)] = true;
    return reduced;
  }

  bool max_, mean_;
  std::vector<int64_t> axes_;
  bool keepdims_;
};

}  // namespace

std::unique_ptr<Op> make_reduce(const Node& node) { return std::make_unique<Reduce>(node); }

}  // namespace glz
