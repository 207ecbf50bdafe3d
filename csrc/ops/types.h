// The logical type of a tensor: what the graph knows, nothing of memory.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "../engine/model.h"

namespace glz {

using Shape = std::vector<int64_t>;

// As gluonzip.graph.TensorType: real value = code * scale if dtype is kS8 or kU8.
struct TensorType {
  Shape shape;
  DType dtype = DType::kF32;
  float scale = 0.0f;

  bool quantized() const { return dtype == DType::kS8 || dtype == DType::kU8; }
  size_t rank() const { return shape.size(); }
  int64_t elements() const;
};

// What an operator's attributes out_scale and unsigned say of its output.
struct OutCodes {
  float scale = 0.0f;  // 0: the output is float32
  DType dtype = DType::kS8;

  bool wanted() const { return scale > 0.0f; }
  TensorType type(Shape shape) const {
    if (!wanted()) return {std::move(shape), DType::kF32, 0.0f};
    return {std::move(shape), dtype, scale};
  }
};

// A null pointer stands for an absent optional input.
using InputTypes = std::vector<const TensorType*>;
using OutputTypes = std::vector<TensorType>;

int64_t product(const Shape& shape, size_t begin, size_t end);
std::string to_string(const Shape& shape);  // "(1, 3, 224, 224)"

// `axis` counted from the front; throws kShape when it is outside [-rank, rank).
size_t resolve_axis(int64_t axis, size_t rank, const std::string& node);

inline int64_t TensorType::elements() const { return product(shape, 0, shape.size()); }

}  // namespace glz
