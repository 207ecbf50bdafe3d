#include "node.h"

#include <cmath>

namespace glz {

const ModelTensor* Node::constant(size_t i) const {
  if (!has_input(i)) return nullptr;
  const auto found = model_.tensors.find(node_.inputs[i]);
  return found == model_.tensors.end() ? nullptr : &found->second;
}

const ModelTensor* Node::need_constant(size_t i, const char* what) const {
  const ModelTensor* tensor = constant(i);
  GLZ_CHECK(tensor != nullptr, kUnsupported,
            label() << ": the engine needs a constant " << what
                    << (has_input(i) ? ", and '" + node_.inputs[i] +
                                           "' is computed; run gluonzip.passes.optimize first"
                                     : ", and the node has none"));
  const bool numbers =
      tensor->scale.empty() ? tensor->dtype == DType::kF32 : tensor->dtype == DType::kS8;
  GLZ_CHECK(
      numbers, kUnsupported,
      label() << ": " << what << " '" << tensor->name << "' must be float32 or quantized int8");
  return tensor;
}

const Attribute* Node::find(const std::string& name) const {
  const auto found = node_.attrs.find(name);
  return found == node_.attrs.end() ? nullptr : &found->second;
}

const Attribute& Node::need(const std::string& name) const {
  const Attribute* found = find(name);
  GLZ_CHECK(found != nullptr, kGraph, label() << ": attribute '" << name << "' is missing");
  return *found;
}

void Node::wrong_type(const std::string& name, const char* wanted) const {
  throw Error(ErrorKind::kGraph, label() + ": attribute '" + name + "' is not " + wanted);
}

bool Node::flag(const std::string& name, bool otherwise) const {
  const Attribute* found = find(name);
  if (found == nullptr) return otherwise;
  if (const bool* value = std::get_if<bool>(found)) return *value;
  if (const int64_t* value = std::get_if<int64_t>(found)) return *value != 0;
  wrong_type(name, "a boolean");
}

int64_t Node::integer(const std::string& name) const {
  const Attribute& found = need(name);
  if (const int64_t* value = std::get_if<int64_t>(&found)) return *value;
  if (const bool* value = std::get_if<bool>(&found)) return *value;
  wrong_type(name, "an integer");
}

int64_t Node::integer(const std::string& name, int64_t otherwise) const {
  return has(name) ? integer(name) : otherwise;
}

double Node::number(const std::string& name) const {
  const Attribute& found = need(name);
  if (const double* value = std::get_if<double>(&found)) return *value;
  if (const int64_t* value = std::get_if<int64_t>(&found)) return static_cast<double>(*value);
  wrong_type(name, "a number");
}

double Node::number(const std::string& name, double otherwise) const {
  return has(name) ? number(name) : otherwise;
}

float Node::scale(const std::string& name) const {
  const float value = static_cast<float>(number(name));
  GLZ_CHECK(std::isfinite(value) && value > 0 && std::isfinite(1.0f / value), kGraph,
            label() << ": " << name << " is " << number(name) << ", must be positive");
  return value;
}

float Node::scale(const std::string& name, float otherwise) const {
  return has(name) ? scale(name) : otherwise;
}

OutCodes Node::out_codes(const char* scale_name) const {
  return {scale(scale_name, 0.0f), flag("unsigned", false) ? DType::kU8 : DType::kS8};
}

std::string Node::text(const std::string& name, const std::string& otherwise) const {
  const Attribute* found = find(name);
  if (found == nullptr) return otherwise;
  if (const std::string* value = std::get_if<std::string>(found)) return *value;
  wrong_type(name, "a string");
}

std::vector<int64_t> Node::list(const std::string& name) const {
  const Attribute& found = need(name);
  if (const auto* value = std::get_if<std::vector<int64_t>>(&found)) return *value;
  wrong_type(name, "a list of integers");
}

std::vector<int64_t> Node::list(const std::string& name,
                                const std::vector<int64_t>& otherwise) const {
  return has(name) ? list(name) : otherwise;
}

}  // namespace glz
