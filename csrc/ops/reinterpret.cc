// identity, flatten, reshape, expand_dims, squeeze: the same elements under another shape.
#include <algorithm>

#include "convert.h"
#include "op_builders.h"

namespace glz {
namespace {

using ShapeRule = Shape (*)(const Shape& x, const std::vector<int64_t>& numbers,
                            const std::string& label);

Shape same(const Shape& x, const std::vector<int64_t>&, const std::string&) { return x; }

Shape flattened(const Shape& x, const std::vector<int64_t>&, const std::string& label) {
  GLZ_CHECK(!x.empty(), kShape, label << ": the input must have at least one axis");
  return {x[0], product(x, 1, x.size())};
}

Shape expanded(const Shape& x, const std::vector<int64_t>& numbers, const std::string& label) {
  Shape shape = x;
  shape.insert(shape.begin() + resolve_axis(numbers[0], x.size() + 1, label), 1);
  return shape;
}

Shape squeezed(const Shape& x, const std::vector<int64_t>& numbers, const std::string& label) {
  std::vector<bool> drop(x.size(), numbers.empty());
  for (int64_t axis : numbers) {
    const size_t i = resolve_axis(axis, x.size(), label);
    GLZ_CHECK(x[i] == 1, kShape,
              label << ": axis " << axis << " of " << to_string(x) << " is not of length 1");
    drop[i] = true;
  }
  Shape shape;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!drop[i] || x[i] != 1) shape.push_back(x[i]);
  }
  return shape;
}

// MXNet's codes: 0 copies an axis, -1 is inferred, -2 takes the rest, -3 merges two, -4 splits one.
Shape reshaped(const Shape& x, const std::vector<int64_t>& codes, const std::string& label) {
  Shape shape;
  size_t at = 0;
  int inferred = -1;
  const auto check = [&](bool fits) {
    GLZ_CHECK(fits, kShape,
              label << ": shape " << to_string(codes) << " does not fit an input of shape "
                    << to_string(x));
  };
  const auto take = [&] {
    check(at < x.size());
    return x[at++];
  };
  for (size_t i = 0; i < codes.size(); ++i) {
    const int64_t code = codes[i];
    if (code > 0 || code == -1) {
      check(code > 0 || inferred < 0);
      if (code == -1) inferred = static_cast<int>(shape.size());
      shape.push_back(code > 0 ? code : 1);
      ++at;
    } else if (code == 0) {
      shape.push_back(take());
    } else if (code == -2) {
      while (at < x.size()) shape.push_back(x[at++]);
    } else if (code == -3) {
      const int64_t first = take();
      shape.push_back(first * take());
    } else {
      check(code == -4 && i + 2 < codes.size());
      const int64_t whole = take();
      int64_t first = codes[i + 1], second = codes[i + 2];
      if (first == -1) first = whole / std::max<int64_t>(second, 1);
      if (second == -1) second = whole / std::max<int64_t>(first, 1);
      check(first > 0 && second > 0 && first * second == whole);
      shape.push_back(first);
      shape.push_back(second);
      i += 2;
    }
  }
  const int64_t total = product(x, 0, x.size()), known = product(shape, 0, shape.size());
  if (inferred >= 0) {
    check(known > 0 && total % known == 0);
    shape[inferred] = total / known;
  } else {
    check(total == known);
  }
  return shape;
}

class Reinterpret final : public Op {
 public:
  Reinterpret(const Node& node, ShapeRule rule, std::vector<int64_t> numbers)
      : Op(node), rule_(rule), numbers_(std::move(numbers)) {}

  bool per_image(const InputTypes&) const override { return true; }

  OutputTypes infer(const InputTypes& inputs) const override {
    TensorType type = *inputs[0];
    type.shape = rule_(type.shape, numbers_, label_);
    return {type};
  }

  Traits traits() const override {
    Traits traits;
    traits.reinterprets = true;
    return traits;
  }

  void plan(OpPlan& plan) const override {
    const View x = plan.input(0), home = plan.output_home();
    if (x.type == home.type && x.layout == home.layout && x.n == home.n && x.h == home.h &&
        x.w == home.w && x.c == home.c) {
      return plan.alias(0, x);
    }
    const View plain = plan.input_as(0, Layout::kPlain, home.type);
    if (home.row_major()) {
      View y = home;
      y.ref = plain.ref;
      return plan.alias(0, y);
    }
    plan.add(make_convert(plain, plan.output(), plan.output_type(), plan.table(), plan.threads()));
  }

 private:
  ShapeRule rule_;
  std::vector<int64_t> numbers_;
};

}  // namespace

std::unique_ptr<Op> make_reinterpret(const Node& node) {
  const auto make = [&](ShapeRule rule, std::vector<int64_t> numbers) {
    return std::make_unique<Reinterpret>(node, rule, std::move(numbers));
  };
  if (node.op() == "flatten") return make(flattened, {});
  if (node.op() == "reshape") return make(reshaped, node.list("shape"));
  if (node.op() == "expand_dims") return make(expanded, {node.integer("axis")});
  if (node.op() == "squeeze") return make(squeezed, node.list("axes", {}));
  return make(same, {});
}

}  // namespace glz
