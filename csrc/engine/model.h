// An archive in memory: what docs/format.md describes, decoded and checked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "../base/buffer.h"

namespace glz {

enum class DType : uint8_t { kF32, kF16, kS8, kS32 };

// An attribute's value, as in the op table of gluonzip/graph/ops.py. Only opaque nodes have maps.
using Attribute = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>,
                               std::map<std::string, std::string>>;

struct ModelInput {
  std::string name;
  std::vector<int64_t> shape;  // 0: any length
  DType dtype = DType::kF32;
};

struct ModelNode {
  std::string op, name;
  std::vector<std::string> inputs;  // "" stands for an absent optional input
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attrs;  // defaults are left out
};

struct ModelTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  Buffer data;               // row-major; f16 is widened to f32 when read
  std::vector<float> scale;  // empty: not quantized; one number: per tensor; else per channel
  int64_t axis = 0;
  int64_t bits = 8;
  int64_t stored_bytes = 0;  // of its section
};

struct Model {
  std::string name;
  std::vector<ModelInput> inputs;
  std::vector<std::string> outputs;
  std::vector<ModelNode> nodes;  // topological order, checked
  std::map<std::string, ModelTensor> tensors;
};

// Reads an archive from memory or a file; of a family the network called `member`. Throws
// Error(kArchive) naming `origin` and what is wrong, Error(kConfig) for a member there is not;
// never reads outside [data, data + size) and never allocates more than the limits of the format.
Model read_archive(const uint8_t* data, size_t size, const std::string& origin,
                   const std::optional<std::string>& member = {});
Model read_archive_file(const std::string& path, const std::optional<std::string>& member = {});

}  // namespace glz
