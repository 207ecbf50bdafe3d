// A node of the model as its operator sees it: attributes by name with defaults, constants.
#pragma once

#include <string>
#include <vector>

#include "../base/check.h"
#include "types.h"

namespace glz {

class Node {
 public:
  Node(const ModelNode& node, const Model& model) : node_(node), model_(model) {}

  const std::string& op() const { return node_.op; }
  // "conv2d 'stage1_conv0'": how messages call it.
  std::string label() const { return node_.op + " '" + node_.name + "'"; }

  size_t inputs() const { return node_.inputs.size(); }
  size_t outputs() const { return node_.outputs.size(); }
  bool has_input(size_t i) const { return i < inputs() && !node_.inputs[i].empty(); }
  // The constant that input i names; null if it is computed or absent.
  const ModelTensor* constant(size_t i) const;
  // The same, but throws kUnsupported when there is none, or it holds neither float32 nor
  // quantized numbers.
  const ModelTensor* need_constant(size_t i, const char* what) const;

  bool has(const std::string& name) const { return node_.attrs.count(name) != 0; }
  // Throw kGraph when the attribute has another type, or (without a default) is missing.
  bool flag(const std::string& name, bool otherwise) const;
  int64_t integer(const std::string& name) const;
  int64_t integer(const std::string& name, int64_t otherwise) const;
  double number(const std::string& name) const;
  double number(const std::string& name, double otherwise) const;
  // A positive float32, as every scale is; throws kGraph otherwise. With `otherwise`: if absent.
  float scale(const std::string& name) const;
  float scale(const std::string& name, float otherwise) const;
  // From the attributes out_scale (or that of another name) and unsigned.
  OutCodes out_codes(const char* scale_name = "out_scale") const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  std::vector<int64_t> list(const std::string& name) const;
  std::vector<int64_t> list(const std::string& name, const std::vector<int64_t>& otherwise) const;

 private:
  const Attribute* find(const std::string& name) const;
  const Attribute& need(const std::string& name) const;
  [[noreturn]] void wrong_type(const std::string& name, const char* wanted) const;

  const ModelNode& node_;
  const Model& model_;
};

}  // namespace glz
