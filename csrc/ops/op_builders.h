// One constructor for each row of the registry (registry.cc).
#pragma once

#include "op.h"

namespace glz {

using OpBuilder = std::unique_ptr<Op> (*)(const Node& node);

std::unique_ptr<Op> make_conv2d(const Node& node);
std::unique_ptr<Op> make_conv_transpose2d(const Node& node);
std::unique_ptr<Op> make_dense(const Node& node);
std::unique_ptr<Op> make_pool(const Node& node);
std::unique_ptr<Op> make_global_pool(const Node& node);
std::unique_ptr<Op> make_unary(const Node& node);
std::unique_ptr<Op> make_binary(const Node& node);
std::unique_ptr<Op> make_concat(const Node& node);
std::unique_ptr<Op> make_scale_shift(const Node& node);
std::unique_ptr<Op> make_batch_norm(const Node& node);
std::unique_ptr<Op> make_quantize(const Node& node);
std::unique_ptr<Op> make_dequantize(const Node& node);
std::unique_ptr<Op> make_fake_quantize(const Node& node);
std::unique_ptr<Op> make_fake_quantize_dynamic(const Node& node);
std::unique_ptr<Op> make_reinterpret(const Node& node);  // identity, flatten, reshape, ...
std::unique_ptr<Op> make_softmax(const Node& node);
std::unique_ptr<Op> make_transpose(const Node& node);
std::unique_ptr<Op> make_slice_axis(const Node& node);
std::unique_ptr<Op> make_split(const Node& node);
std::unique_ptr<Op> make_pad(const Node& node);
std::unique_ptr<Op> make_reduce(const Node& node);
std::unique_ptr<Op> make_peak(const Node& node);
std::unique_ptr<Op> make_matmul(const Node& node);
std::unique_ptr<Op> make_embedding(const Node& node);
std::unique_ptr<Op> make_layer_norm(const Node& node);
std::unique_ptr<Op> make_l2_normalize(const Node& node);
std::unique_ptr<Op> make_prelu(const Node& node);
std::unique_ptr<Op> make_upsample(const Node& node);
std::unique_ptr<Op> make_resize_bilinear(const Node& node);
std::unique_ptr<Op> make_adaptive_avg_pool(const Node& node);

}  // namespace glz
