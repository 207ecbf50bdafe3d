// One row an operator: to add one, write its file, declare its constructor and name it here.
#include <algorithm>

#include "op_builders.h"
#include "unary_functions.h"

namespace glz {
namespace {

struct Row {
  const char* name;
  size_t inputs;  // how many must be there
  OpBuilder build;
  bool streams_weight = false;  // packs input 1 from streams_rows() (filter.h), not from its data
};

const Row kOperators[] = {
    {"conv2d", 2, make_conv2d, true},
    {"conv_transpose2d", 2, make_conv_transpose2d},
    {"dense", 2, make_dense, true},
    {"embedding", 2, make_embedding},
    {"batch_norm", 5, make_batch_norm},
    {"scale_shift", 3, make_scale_shift},
    {"layer_norm", 3, make_layer_norm},
    {"l2_normalize", 1, make_l2_normalize},
    {"prelu", 2, make_prelu},
    {"add", 2, make_binary},
    {"sub", 2, make_binary},
    {"mul", 2, make_binary},
    {"div", 2, make_binary},
    {"maximum", 2, make_binary},
    {"minimum", 2, make_binary},
    {"max_pool", 1, make_pool},
    {"avg_pool", 1, make_pool},
    {"global_max_pool", 1, make_global_pool},
    {"global_avg_pool", 1, make_global_pool},
    {"adaptive_avg_pool", 1, make_adaptive_avg_pool},
    {"upsample", 1, make_upsample},
    {"resize_bilinear", 1, make_resize_bilinear},
    {"concat", 1, make_concat},
    {"identity", 1, make_reinterpret},
    {"flatten", 1, make_reinterpret},
    {"reshape", 1, make_reinterpret},
    {"expand_dims", 1, make_reinterpret},
    {"squeeze", 1, make_reinterpret},
    {"transpose", 1, make_transpose},
    {"slice_axis", 1, make_slice_axis},
    {"split", 1, make_split},
    {"pad", 1, make_pad},
    {"softmax", 1, make_softmax},
    {"log_softmax", 1, make_softmax},
    {"mean", 1, make_reduce},
    {"sum", 1, make_reduce},
    {"max", 1, make_reduce},
    {"peak", 1, make_peak},
    {"matmul", 2, make_matmul},
    {"quantize", 1, make_quantize},
    {"dequantize", 1, make_dequantize},
    {"fake_quantize", 2, make_fake_quantize},
    {"fake_quantize_dynamic", 1, make_fake_quantize_dynamic},
};

void need_inputs(const Node& node, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    GLZ_CHECK(node.has_input(i), kGraph,
              node.label() << ": input " << i << " is missing, the operator needs " << count);
  }
}

}  // namespace

bool streams_input(const std::string& op, size_t i) {
  const auto streams = [&](const Row& row) { return op == row.name && row.streams_weight; };
  return i == 1 && std::any_of(std::begin(kOperators), std::end(kOperators), streams);
}

std::unique_ptr<Op> make_op(const Node& node) {
  for (const Row& row : kOperators) {
    if (node.op() != row.name) continue;
    need_inputs(node, row.inputs);
    return row.build(node);
  }
  if (find_unary(node.op()) != nullptr) {
    need_inputs(node, 1);
    return make_unary(node);
  }
  GLZ_CHECK(node.op() != "opaque", kUnsupported,
            node.label() << ": the engine has no operator '" << node.text("operator", "?") << "'");
  throw Error(ErrorKind::kUnsupported,
              node.label() + ": the engine has no operator '" + node.op() + "'");
}

}  // namespace glz
