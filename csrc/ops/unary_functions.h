// The element-wise functions of one argument, in float32.
#pragma once

#include <cstdint>
#include <string>

namespace glz {

// Parameters of a function: what its node's attributes say (p and q, in the order of the table).
struct UnaryParameters {
  float p = 0.0f, q = 0.0f;
};

struct UnaryFunction {
  const char* name;
  // Names of the attributes that p and q come from, null if there are none; their defaults, NaN if
  // the attribute must be there.
  const char* p_name;
  double p_default;
  const char* q_name;
  double q_default;
  void (*map)(const float* x, float* y, int64_t count, const UnaryParameters& parameters);
};

// Null when there is none of that name.
const UnaryFunction* find_unary(const std::string& name);

}  // namespace glz
