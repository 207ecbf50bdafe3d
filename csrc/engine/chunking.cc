#include "chunking.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "../base/cpu.h"

namespace glz {
namespace {

// What a chunk costs and saves. Each step of each chunk starts anew and reads its weights again,
// from a nearer cache; what the last-level cache does not hold comes from memory, partly hidden
// behind arithmetic.
constexpr double kStepNanoseconds = 2000;
constexpr double kWeightBytesPerNanosecond = 25;
constexpr double kMemoryBytesPerNanosecond = 40;
constexpr double kLeastGainNanoseconds = 50e3;

// The share of a step's traffic that goes to memory when so much is in use. Others use the cache
// too, and what was last written is not all that it keeps.
double missing(double bytes) {
  const double cache = static_cast<double>(last_level_cache_bytes());
  return std::clamp((bytes / cache - 0.125) / 0.5, 0.0, 1.0);
}

double bytes_of(const TensorType& type) {
  return static_cast<double>(type.elements()) * (type.quantized() ? 1 : 4);
}

class Chooser {
 public:
  Chooser(const Network& network, const std::vector<TensorType>& types,
          const std::vector<int32_t>& given_out)
      : network_(network), types_(types), last_use_(types.size(), -1) {
    for (size_t id = 0; id < types.size(); ++id) {
      for (int32_t node : network.tensors()[id].consumers) {
        last_use_[id] = std::max(last_use_[id], node);
      }
    }
    for (int32_t id : given_out) last_use_[id] = static_cast<int32_t>(network.nodes().size());
    batch_ = common_batch();
  }

  // The number of images of every input; 0 if they differ or cannot be divided.
  int64_t batch() const { return batch_; }

  // How many nodes from the first on can run image by image: by what they say, and by the shapes
  // that they give one image.
  int32_t per_image_nodes() const {
    std::vector<TensorType> one = types_;
    for (size_t id = 0; id < one.size(); ++id) {
      if (network_.tensors()[id].input >= 0 && !one[id].shape.empty()) one[id].shape[0] = 1;
    }
    const auto& nodes = network_.nodes();
    int32_t count = 0;
    while (count < static_cast<int32_t>(nodes.size()) && is_per_image(nodes[count], &one)) ++count;
    return count;
  }

  // The tensor that all nodes from `node` on read alone of what those before made; -1: there are
  // others, or it cannot be written in parts.
  int32_t handover(int32_t node) const {
    const NetworkNode& producer = network_.nodes()[node - 1];
    const Traits traits = producer.op->traits();
    const int32_t id = producer.outputs[0];
    const bool owned = traits.strided_output && !traits.reinterprets;
    if (producer.outputs.size() != 1 || !owned || types_[id].rank() != 4) return -1;
    if (network_.tensors()[id].consumers.empty()) return -1;
    for (size_t other = 0; other < types_.size(); ++other) {
      const NetworkTensor& tensor = network_.tensors()[other];
      const bool before = tensor.constant == nullptr && tensor.producer < node;
      if (before && last_use_[other] >= node && static_cast<int32_t>(other) != id) return -1;
    }
    return id;
  }

  // Of each node: all that is in use while it runs, and what it reads and writes; but the network's
  // inputs, which come once from wherever they are.
  struct Traffic {
    double in_use = 0, moved = 0, weights = 0;
  };
  std::vector<Traffic> traffic() const {
    const auto& nodes = network_.nodes();
    std::vector<Traffic> result(nodes.size());
    for (size_t id = 0; id < types_.size(); ++id) {
      const NetworkTensor& tensor = network_.tensors()[id];
      if (tensor.constant != nullptr || tensor.input >= 0) continue;
      const double bytes = bytes_of(types_[id]);
      const auto last = std::min<int32_t>(last_use_[id], static_cast<int32_t>(nodes.size()) - 1);
      for (int32_t i = tensor.producer; i <= last; ++i) result[i].in_use += bytes;
      for (int32_t i : tensor.consumers) result[i].moved += bytes;
      result[tensor.producer].moved += bytes;
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      result[i].weights = static_cast<double>(nodes[i].op->weight_bytes());
    }
    return result;
  }

 private:
  int64_t common_batch() const {
    int64_t batch = 0;
    for (size_t id = 0; id < types_.size(); ++id) {
      if (network_.tensors()[id].input < 0 || last_use_[id] < 0) continue;
      const int64_t images = types_[id].rank() == 0 ? 0 : types_[id].shape[0];
      if (images == 0 || (batch != 0 && images != batch)) return 0;
      batch = images;
    }
    return batch;
  }

  bool is_per_image(const NetworkNode& node, std::vector<TensorType>* one) const {
    InputTypes inputs, inputs_of_one;
    for (int32_t id : node.inputs) {
      inputs.push_back(id < 0 ? nullptr : &types_[id]);
      inputs_of_one.push_back(id < 0 ? nullptr : &(*one)[id]);
    }
    if (!node.op->per_image(inputs)) return false;
    try {
      OutputTypes outputs = node.op->infer(inputs_of_one);
      for (size_t i = 0; i < outputs.size(); ++i) {
        Shape expected = types_[node.outputs[i]].shape;
        if (expected.empty() || expected[0] != batch_) return false;
        expected[0] = 1;
        if (outputs[i].shape != expected) return false;
        (*one)[node.outputs[i]] = std::move(outputs[i]);
      }
    } catch (const Error&) {
      return false;  // written for this batch alone
    }
    return true;
  }

  const Network& network_;
  const std::vector<TensorType>& types_;
  std::vector<int32_t> last_use_;  // node; their number for what is given out; -1: nobody's
  int64_t batch_ = 0;
};

double nanoseconds(const Chooser::Traffic& traffic, double batch, double images) {
  const double chunks = batch / images;
  return chunks * (kStepNanoseconds + traffic.weights / kWeightBytesPerNanosecond) +
         traffic.moved * missing(traffic.in_use / chunks + traffic.weights) /
             kMemoryBytesPerNanosecond;
}

Chunking fastest(const Chooser& chooser, int64_t batch, int32_t most_nodes) {
  const std::vector<Chooser::Traffic> traffic = chooser.traffic();
  Chunking best;
  double most_saved = kLeastGainNanoseconds;
  for (int64_t images = 1; images < batch; ++images) {
    if (batch % images != 0) continue;
    double saved = 0;
    for (int32_t node = 0; node < most_nodes; ++node) {
      saved += nanoseconds(traffic[node], batch, batch) - nanoseconds(traffic[node], batch, images);
      const int32_t handover = saved > most_saved ? chooser.handover(node + 1) : -1;
      if (handover < 0) continue;
      most_saved = saved;
      best = {node + 1, images, handover};
    }
  }
  return best;
}

Chunking longest(const Chooser& chooser, int64_t batch, int32_t most_nodes, int64_t most_images) {
  int64_t images = std::min(most_images, batch - 1);
  while (batch % images != 0) --images;
  for (int32_t nodes = most_nodes; nodes > 0; --nodes) {
    const int32_t handover = chooser.handover(nodes);
    if (handover >= 0) return {nodes, images, handover};
  }
  return {};
}

}  // namespace

Chunking choose_chunking(const Network& network, const std::vector<TensorType>& types,
                         const std::vector<int32_t>& given_out) {
  const char* variable = std::getenv("GLUONZIP_CHUNK");
  const std::string policy = variable == nullptr || *variable == '\0' ? "auto" : variable;
  const bool number = policy.size() < 9 && std::all_of(policy.begin(), policy.end(),
                                                       [](char c) { return c >= '0' && c <= '9'; });
  const int64_t images = number ? std::stoll(policy) : 0;
  GLZ_CHECK(policy == "auto" || policy == "never" || images > 0, kConfig,
            "environment variable GLUONZIP_CHUNK = '"
                << policy << "' is not one of auto, never, a number of images");
  if (policy == "never") return {};
  const Chooser chooser(network, types, given_out);
  const int64_t batch = chooser.batch();
  if (batch < 2) return {};
  const int32_t nodes =
      std::min(chooser.per_image_nodes(), static_cast<int32_t>(network.nodes().size()) - 1);
  return images > 0 ? longest(chooser, batch, nodes, images) : fastest(chooser, batch, nodes);
}

}  // namespace glz
