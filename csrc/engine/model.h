// An archive in memory: what docs/format.md describes, decoded and checked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "../base/buffer.h"

namespace glz {

enum class DType : uint8_t { kF32, kF16, kS8, kU8, kS32 };  // kU8: activations alone

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

// The elements of a stored tensor in order, decoded as they are asked for: int8, int32, or float32
// (f16 is widened). Throws Error(kArchive), naming file and tensor, when something is wrong.
class ElementStream {
 public:
  virtual ~ElementStream() = default;
  virtual void read(void* out, int64_t count) = 0;  // at most those that are left
  virtual void finish() = 0;                        // when all are read: whether all was well
};

// A tensor as it is stored; its memory is given back when nobody needs it any more.
class StoredTensor {
 public:
  virtual ~StoredTensor() = default;
  virtual std::unique_ptr<ElementStream> open() const = 0;  // from the first element on
};

struct ModelTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  Buffer data;                                 // row-major; f16 is widened to f32 when read
  std::shared_ptr<const StoredTensor> stored;  // instead of data, until decode_tensor()
  // Empty: not quantized; one number: per tensor; else per channel, or several a channel, channel
  // by channel (per group).
  std::vector<float> scale;
  int64_t axis = 0;
  int64_t bits = 8;
  int64_t stored_bytes = 0;  // of its section

  // Scales of each index along `axis`; 1 also if there is one for all.
  int64_t groups() const {
    const auto scales = static_cast<int64_t>(scale.size());
    return scales > 1 ? scales / shape[axis] : 1;
  }
};

struct Model {
  std::string name;
  std::vector<ModelInput> inputs;
  std::vector<std::string> outputs;
  std::vector<ModelNode> nodes;  // topological order, checked
  std::map<std::string, ModelTensor> tensors;
};

// Decodes what is stored; nothing if that is done.
void decode_tensor(ModelTensor* tensor);

// Reads an archive from memory or a file; of a family the network called `member`. Throws
// Error(kArchive) naming `origin` and what is wrong, Error(kConfig) for a member there is not;
// never reads outside [data, data + size) and never allocates more than the limits of the format.
Model read_archive(const uint8_t* data, size_t size, const std::string& origin,
                   const std::optional<std::string>& member = {});
Model read_archive_file(const std::string& path, const std::optional<std::string>& member = {});

// The same without decoding: tensors are `stored`, with checksums and sizes checked. Of what is
// wrong in them decoding tells.
Model open_archive(const uint8_t* data, size_t size, const std::string& origin,
                   const std::optional<std::string>& member = {});
Model open_archive_file(const std::string& path, const std::optional<std::string>& member = {});

}  // namespace glz
