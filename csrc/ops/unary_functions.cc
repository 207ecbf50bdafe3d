#include "unary_functions.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace glz {
namespace {

using P = UnaryParameters;

float sigmoid_of(float x) {  // without overflow
  const float e = std::exp(-std::fabs(x));
  return (x >= 0 ? 1.0f : e) / (1.0f + e);
}
float elu_of(float x, float slope) { return x > 0 ? x : slope * std::expm1(x); }

float relu(float x, P) { return x > 0 ? x : 0.0f; }
float sigmoid(float x, P) { return sigmoid_of(x); }
float tanh(float x, P) { return std::tanh(x); }
float softplus(float x, P) { return std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))); }
float softsign(float x, P) { return x / (1.0f + std::fabs(x)); }
float gelu(float x, P) {
  const float z = x * static_cast<float>(std::sqrt(0.5));
  return x * (1.0f + static_cast<float>(std::erf(static_cast<double>(z)))) * 0.5f;
}
float exp(float x, P) { return std::exp(x); }
float log(float x, P) { return std::log(x); }
float sqrt(float x, P) { return std::sqrt(x); }
float rsqrt(float x, P) { return 1.0f / std::sqrt(x); }
float abs(float x, P) { return std::fabs(x); }
float negative(float x, P) { return -x; }
float square(float x, P) { return x * x; }
float floor(float x, P) { return std::floor(x); }
float ceil(float x, P) { return std::ceil(x); }
float erf(float x, P) { return static_cast<float>(std::erf(static_cast<double>(x))); }
float leaky_relu(float x, P a) { return x > 0 ? x : x * a.p; }
float elu(float x, P a) { return elu_of(x, a.p); }
float selu(float x, P) {
  return static_cast<float>(1.0507009873554805) * elu_of(x, static_cast<float>(1.6732632423543772));
}
float hard_sigmoid(float x, P a) { return std::min(std::max(a.p * x + a.q, 0.0f), 1.0f); }
float hard_swish(float x, P) { return x * std::min(std::max(x + 3.0f, 0.0f), 6.0f) / 6.0f; }
float swish(float x, P a) { return x * sigmoid_of(a.p * x); }
float clip(float x, P a) { return std::min(std::max(x, a.p), a.q); }
float add_scalar(float x, P a) { return x + a.p; }
float mul_scalar(float x, P a) { return x * a.p; }
float rsub_scalar(float x, P a) { return a.p - x; }
float rdiv_scalar(float x, P a) { return a.p / x; }
float pow_scalar(float x, P a) { return std::pow(x, a.p); }
float max_scalar(float x, P a) { return std::max(x, a.p); }
float min_scalar(float x, P a) { return std::min(x, a.p); }

template <float (*F)(float, P)>
void map(const float* x, float* y, int64_t count, const P& parameters) {
  const P a = parameters;
  for (int64_t i = 0; i < count; ++i) y[i] = F(x[i], a);
}

constexpr double kNeeded = std::numeric_limits<double>::quiet_NaN();

// One row a function: the same names and defaults as gluonzip/graph/ops.py.
const UnaryFunction kFunctions[] = {
    {"relu", nullptr, 0, nullptr, 0, map<relu>},
    {"sigmoid", nullptr, 0, nullptr, 0, map<sigmoid>},
    {"tanh", nullptr, 0, nullptr, 0, map<tanh>},
    {"softplus", nullptr, 0, nullptr, 0, map<softplus>},
    {"softsign", nullptr, 0, nullptr, 0, map<softsign>},
    {"gelu", nullptr, 0, nullptr, 0, map<gelu>},
    {"exp", nullptr, 0, nullptr, 0, map<exp>},
    {"log", nullptr, 0, nullptr, 0, map<log>},
    {"sqrt", nullptr, 0, nullptr, 0, map<sqrt>},
    {"rsqrt", nullptr, 0, nullptr, 0, map<rsqrt>},
    {"abs", nullptr, 0, nullptr, 0, map<abs>},
    {"negative", nullptr, 0, nullptr, 0, map<negative>},
    {"square", nullptr, 0, nullptr, 0, map<square>},
    {"floor", nullptr, 0, nullptr, 0, map<floor>},
    {"ceil", nullptr, 0, nullptr, 0, map<ceil>},
    {"erf", nullptr, 0, nullptr, 0, map<erf>},
    {"leaky_relu", "slope", 0.25, nullptr, 0, map<leaky_relu>},
    {"elu", "slope", 1.0, nullptr, 0, map<elu>},
    {"selu", nullptr, 0, nullptr, 0, map<selu>},
    {"hard_sigmoid", "alpha", 0.2, "beta", 0.5, map<hard_sigmoid>},
    {"hard_swish", nullptr, 0, nullptr, 0, map<hard_swish>},
    {"swish", "beta", 1.0, nullptr, 0, map<swish>},
    {"clip", "min", kNeeded, "max", kNeeded, map<clip>},
    {"add_scalar", "value", kNeeded, nullptr, 0, map<add_scalar>},
    {"mul_scalar", "value", kNeeded, nullptr, 0, map<mul_scalar>},
    {"rsub_scalar", "value", kNeeded, nullptr, 0, map<rsub_scalar>},
    {"rdiv_scalar", "value", kNeeded, nullptr, 0, map<rdiv_scalar>},
    {"pow_scalar", "value", kNeeded, nullptr, 0, map<pow_scalar>},
    {"max_scalar", "value", kNeeded, nullptr, 0, map<max_scalar>},
    {"min_scalar", "value", kNeeded, nullptr, 0, map<min_scalar>},
};

}  // namespace

const UnaryFunction* find_unary(const std::string& name) {
  for (const UnaryFunction& function : kFunctions) {
    if (name == function.name) return &function;
  }
  return nullptr;
}

}  // namespace glz
