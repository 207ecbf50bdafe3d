// A network bound to input shapes: steps in order, and where every tensor lies.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../ops/step.h"
#include "network.h"

namespace glz {

// A piece of memory that steps refer to by its index.
struct Storage {
  enum class Kind { kArena, kConstant, kInput, kOutput };
  Kind kind = Kind::kArena;
  int64_t bytes = 0;
  // Arena: used by nodes first..last, at this offset.
  int32_t first = 0, last = 0;
  int64_t offset = 0;
  const void* constant = nullptr;
  int32_t index = 0;    // of the caller's array
  int64_t advance = 0;  // bytes from one chunk of images to the next, while the head runs
};

struct Plan {
  std::shared_ptr<const Network> network;
  std::vector<Shape> input_shapes;
  std::vector<TensorType> outputs;  // the network's, then the tapped tensors'
  std::vector<std::unique_ptr<Step>> steps;
  // The first `head_steps` steps are for a part of the batch and run `chunks` times before the rest
  // (chunking.h).
  size_t head_steps = 0;
  int64_t chunks = 1;
  std::vector<Storage> storages;
  size_t arena_bytes = 0;
  size_t workspace_bytes = 0;  // of one thread

  int64_t runs_of(size_t step) const { return step < head_steps ? chunks : 1; }
};

// Throws kShape when the inputs do not suit the network. `taps` are tensors to be given out besides
// the outputs.
std::unique_ptr<Plan> make_plan(std::shared_ptr<const Network> network,
                                const std::vector<Shape>& input_shapes, int threads,
                                const std::vector<int32_t>& taps = {});

// Gives each arena storage an offset such that storages in use at once do not overlap; returns the
// arena's size.
size_t place_storages(std::vector<Storage>* storages);

}  // namespace glz
