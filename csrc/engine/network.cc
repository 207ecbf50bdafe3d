#include "network.h"

#include <algorithm>
#include <set>

#include "../ops/filter.h"

namespace glz {

Network::Network(Model model, Isa isa) : model_(std::move(model)), isa_(isa) {
  for (size_t i = 0; i < model_.inputs.size(); ++i) {
    const ModelInput& input = model_.inputs[i];
    GLZ_CHECK(input.dtype == DType::kF32, kUnsupported,
              "input '" << input.name << "' is not float32, the only type of input there is");
    tensors_[add_tensor(input.name)].input = static_cast<int32_t>(i);
  }
  decode_constants();
  add_constants();
  for (const ModelNode& node : model_.nodes) add_node(node);
  for (const std::string& name : model_.outputs) {
    const auto found = ids_.find(name);
    GLZ_CHECK(found != ids_.end(), kGraph,
              "output '" << name << "' of network '" << model_.name << "' is made by no node");
    outputs_.push_back(found->second);
  }
}

int32_t Network::add_tensor(const std::string& name) {
  const int32_t id = static_cast<int32_t>(tensors_.size());
  GLZ_CHECK(ids_.emplace(name, id).second, kGraph,
            "tensor '" << name << "' of network '" << model_.name << "' is defined twice");
  tensors_.emplace_back();
  tensors_.back().name = name;
  return id;
}

// All but weights that operators pack from the archive.
void Network::decode_constants() {
  std::set<std::string> streamed, whole(model_.outputs.begin(), model_.outputs.end());
  for (const ModelNode& node : model_.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      (streams_input(node.op, i) ? streamed : whole).insert(node.inputs[i]);
    }
  }
  for (auto& [name, tensor] : model_.tensors) {
    const bool stays = streamed.count(name) && !whole.count(name) && streams_rows(tensor);
    if (!stays) decode_tensor(&tensor);
  }
}

void Network::add_constants() {
  for (auto& [name, tensor] : model_.tensors) tensors_[add_tensor(name)].constant = &tensor;
}

void Network::add_node(const ModelNode& node) {
  NetworkNode added{node.name, node.op, {}, {}, nullptr};
  added.op = make_op(Node(node, model_));
  const int32_t index = static_cast<int32_t>(nodes_.size());
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    int32_t id = -1;
    if (!node.inputs[i].empty()) {
      const auto found = ids_.find(node.inputs[i]);
      GLZ_CHECK(found != ids_.end(), kGraph,
                added.op->label() << " reads tensor '" << node.inputs[i]
                                  << "', which nothing before it makes");
      id = found->second;
      auto& consumers = tensors_[id].consumers;
      if (!added.op->absorbs(i) && (consumers.empty() || consumers.back() != index)) {
        consumers.push_back(index);
      }
    }
    added.inputs.push_back(id);
  }
  for (const std::string& name : node.outputs) {
    const int32_t id = add_tensor(name);
    tensors_[id].producer = index;
    added.outputs.push_back(id);
  }
  nodes_.push_back(std::move(added));
}

int32_t Network::tensor(const std::string& name) const {
  const auto found = ids_.find(name);
  GLZ_CHECK(found != ids_.end(), kConfig,
            "network '" << model_.name << "' has no tensor named '" << name << "'");
  return found->second;
}

void Network::prepare(const std::vector<TensorType>& types, const std::vector<View>& homes) const {
  const std::lock_guard<std::mutex> lock(preparing_);
  if (prepared_) return;
  std::vector<int32_t> packings(tensors_.size(), 0);  // still to come, of each constant
  const auto each_absorbed = [&](const NetworkNode& node, auto fn) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] >= 0 && node.op->absorbs(i)) fn(node.inputs[i]);
    }
  };
  for (const NetworkNode& node : nodes_) {
    each_absorbed(node, [&](int32_t id) { ++packings[id]; });
  }
  for (const NetworkNode& node : nodes_) {
    InputTypes inputs;
    std::vector<View> places;
    for (int32_t id : node.inputs) {
      inputs.push_back(id < 0 ? nullptr : &types[id]);
      places.push_back(id < 0 ? View{} : homes[id]);
    }
    node.op->prepare(inputs, places, table());
    each_absorbed(node, [&](int32_t id) {
      const NetworkTensor& tensor = tensors_[id];
      const bool output = std::count(outputs_.begin(), outputs_.end(), id) != 0;
      if (--packings[id] == 0 && tensor.constant != nullptr && tensor.consumers.empty() &&
          !output) {
        model_.tensors.at(tensor.name).data = Buffer();
        model_.tensors.at(tensor.name).stored.reset();
      }
    });
  }
  prepared_ = true;
}

void Network::check_stored() const {
  constexpr int64_t kPiece = 1 << 14;
  std::vector<float> piece(kPiece);
  for (const auto& [name, tensor] : model_.tensors) {
    if (tensor.stored == nullptr) continue;
    const auto stream = tensor.stored->open();
    int64_t left = product(tensor.shape, 0, tensor.shape.size());
    for (; left > 0; left -= kPiece) stream->read(piece.data(), std::min(left, kPiece));
    stream->finish();
  }
}

const float* Network::constant_values(int32_t id) const {
  const ModelTensor& tensor = *tensors_[id].constant;
  GLZ_CHECK(tensor.dtype == DType::kF32 && tensor.scale.empty(), kUnsupported,
            "constant '" << tensor.name << "' is read as an activation and is not float32");
  return tensor.data.as<float>();
}

size_t Network::weight_bytes() const {
  size_t bytes = 0;
  for (const NetworkNode& node : nodes_) bytes += node.op->weight_bytes();
  for (const auto& [name, tensor] : model_.tensors) bytes += tensor.data.size();
  return bytes;
}

}  // namespace glz
