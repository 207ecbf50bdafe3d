// A loaded network: nodes with their operators, shared by every plan and every engine made from it.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../ops/op.h"
#include "model.h"

namespace glz {

struct NetworkNode {
  std::string name, kind;       // kind: the operator's name
  std::vector<int32_t> inputs;  // tensor ids; -1: absent
  std::vector<int32_t> outputs;
  std::unique_ptr<Op> op;
};

struct NetworkTensor {
  std::string name;
  int32_t producer = -1;           // node; -1: an input or a constant
  int32_t input = -1;              // index of the network input that it is
  std::vector<int32_t> consumers;  // nodes that read it at run time, once each
  const ModelTensor* constant = nullptr;
};

class Network {
 public:
  // Throws kUnsupported naming the operator and node, kGraph for a malformed graph.
  Network(Model model, Isa isa);

  const std::vector<ModelInput>& inputs() const { return model_.inputs; }
  const std::vector<int32_t>& outputs() const { return outputs_; }
  const std::vector<NetworkNode>& nodes() const { return nodes_; }
  const std::vector<NetworkTensor>& tensors() const { return tensors_; }
  const std::string& name() const { return model_.name; }
  const KernelTable& table() const { return kernel_table(isa_); }
  Isa isa() const { return isa_; }
  // Id of a tensor; throws kConfig when there is none of that name.
  int32_t tensor(const std::string& name) const;

  // Packs every operator's weights, the first time it is called, and frees what was packed.
  void prepare(const std::vector<TensorType>& types, const std::vector<View>& homes) const;
  // Decodes once what is stored and not packed yet, keeping nothing: throws what is wrong with it.
  void check_stored() const;
  // The values of a constant that nodes read at run time; throws kUnsupported unless float32.
  const float* constant_values(int32_t tensor) const;
  // Packed weights and constants.
  size_t weight_bytes() const;

 private:
  int32_t add_tensor(const std::string& name);
  void decode_constants();
  void add_constants();
  void add_node(const ModelNode& node);

  mutable Model model_;
  Isa isa_;
  std::vector<NetworkNode> nodes_;
  std::vector<NetworkTensor> tensors_;
  std::map<std::string, int32_t> ids_;
  std::vector<int32_t> outputs_;
  mutable std::mutex preparing_;
  mutable bool prepared_ = false;
};

}  // namespace glz
