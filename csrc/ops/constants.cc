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
  const bool each = weight.scale.size() > 1;
  const int64_t inner = each ? product(weight.shape, weight.axis + 1, weight.shape.size()) : count;
  const int64_t channels = static_cast<int64_t>(weight.scale.size());
  for (int64_t i = 0; i < count; ++i) {
    values[i] =
        static_cast<float>(codes[i]) * weight.scale[i / std::max<int64_t>(inner, 1) % channels];
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
