#include "constants.h"

#include <algorithm>

#include "../base/check.h"

namespace glz {

std::vector<float> real_values(const ModelTensor& weight) {
  const int64_t count = product(weight.shape, 0, weight.shape.size());
  if (weight.scale.empty()) {
    const float* data = weight.data.as<float>();
    return {data, data + count};
  }
  std::vector<float> values(count);
  const int8_t* codes = weight.data.as<int8_t>();
  if (weight.scale.size() == 1) {
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(codes[i]) * weight.scale[0];
    return values;
  }
  const int64_t channels = weight.shape[weight.axis];
  const int64_t outer = product(weight.shape, 0, weight.axis);
  const int64_t inner = product(weight.shape, weight.axis + 1, weight.shape.size());
  const int64_t groups = weight.groups(), size = outer * inner / groups;
  int64_t i = 0;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t c = 0; c < channels; ++c) {
      const float* scale = &weight.scale[c * groups];
      for (int64_t k = o * inner; k < (o + 1) * inner; ++k, ++i) {
        values[i] = static_cast<float>(codes[i]) * scale[k / size];
      }
    }
  }
  return values;
}

void check_weight(const ModelTensor& tensor, size_t rank, const char* axes,
                  const std::string& label) {
  const Shape& shape = tensor.shape;
  GLZ_CHECK(shape.size() == rank && std::find(shape.begin(), shape.end(), 0) == shape.end(), kShape,
            label << ": weight of shape " << to_string(shape) << " must have " << rank << " axes "
                  << axes << ", none of them empty");
}

}  // namespace glz
