#include "epilogue.h"

namespace glz {

Tail read_tail(const Node& node) {
  Tail tail;
  const std::string act = node.text("act", "none");
  if (act == "relu") {
    tail.act = Tail::Act::kRelu;
  } else if (act == "clip") {
    tail.act = Tail::Act::kClip;
    tail.act_min = node.number("act_min", 0.0);
    tail.act_max = node.number("act_max", 0.0);
  } else if (act == "leaky_relu") {
    tail.act = Tail::Act::kLeakyRelu;
    tail.act_slope = node.number("act_slope", 0.0);
  } else {
    GLZ_CHECK(
        act == "none", kUnsupported,
        node.label() << ": activation '" << act << "' is not one of none, relu, clip, leaky_relu");
  }
  tail.out = node.out_codes();
  return tail;
}

Epilogue make_epilogue(const Tail& tail, float step) {
  Epilogue epilogue;
  const auto in_steps = [step](double value) {
    return static_cast<float>(value / static_cast<double>(step));
  };
  switch (tail.act) {
    case Tail::Act::kNone:
      break;
    case Tail::Act::kRelu:
      epilogue.lo = 0.0f;
      break;
    case Tail::Act::kClip:
      epilogue.lo = in_steps(tail.act_min);
      epilogue.hi = in_steps(tail.act_max);
      break;
    case Tail::Act::kLeakyRelu:
      epilogue.leaky = true;
      epilogue.slope = static_cast<float>(tail.act_slope);
      break;
  }
  return epilogue;
}

void check_residual(const TensorType* residual, const Shape& output, const std::string& label) {
  GLZ_CHECK(residual == nullptr || residual->shape == output, kShape,
            label << ": the residual has shape " << to_string(residual->shape)
                  << ", must be the output's " << to_string(output));
}

}  // namespace glz
