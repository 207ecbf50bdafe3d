#include <algorithm>
#include <cmath>

#include "constants.h"
#include "op_builders.h"
#include "plain_op.h"

namespace glz {
namespace {

class Embedding final : public PlainOp {
 public:
  explicit Embedding(const Node& node) : PlainOp(node), weight_(node.need_constant(1, "weight")) {
    const Shape& w = weight_->shape;
    check_weight(*weight_, 2, "(V, D)", label_);
    rows_ = w[0];
    width_ = w[1];
  }

  bool absorbs(size_t i) const override { return i == 1; }
  void prepare(const InputTypes&, const std::vector<View>&, const KernelTable&) override {
    table_ = real_values(*weight_);
  }
  size_t weight_bytes() const override { return table_.size() * sizeof(float); }

  OutputTypes infer(const InputTypes& inputs) const override {
    Shape shape = inputs[0]->shape;
    shape.push_back(width_);
    return {{shape}};
  }

  void compute(const PlainCall& call) const override {
    for (int64_t i = 0; i < call.x_type[0]->elements(); ++i) {
      const float index = std::clamp(std::floor(call.x[0][i]), 0.0f, static_cast<float>(rows_ - 1));
      std::copy_n(&table_[static_cast<int64_t>(index) * width_], width_, call.y + i * width_);
    }
  }

 private:
  const ModelTensor* weight_;
  int64_t rows_ = 0, width_ = 0;
  std::vector<float> table_;
};

}  // namespace

std::unique_ptr<Op> make_embedding(const Node& node) { return std::make_unique<Embedding>(node); }

}  // namespace glz
