// Numbers out of a model's constants.
#pragma once

#include <string>
#include <vector>

#include "types.h"

namespace glz {

// float32 values: codes times their scales if the tensor is quantized.
std::vector<float> real_values(const ModelTensor& tensor);

// Throws kShape unless the tensor has `rank` axes, none of them empty. `axes` names them:
// "(O, I)".
void check_weight(const ModelTensor& tensor, size_t rank, const char* axes,
                  const std::string& label);

}  // namespace glz
