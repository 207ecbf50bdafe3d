// Which part of a network to run in chunks of a batch. The activations of a batch of images may not
// fit the last-level cache where those of a few images do: then the first layers go through all of
// their steps with few images at a time, and the rest, whose images are small and whose weights are
// large, with the whole batch.
#pragma once

#include <vector>

#include "network.h"

namespace glz {

struct Chunking {
  int32_t nodes = 0;      // the first so many, in chunks; 0: none
  int64_t images = 0;     // of a chunk; divides the batch
  int32_t handover = -1;  // the one tensor that the other nodes read

  bool none() const { return nodes == 0; }
};

// The cut and chunk of the least estimated time. `types`: of the whole batch; `given_out`: tensors
// that the caller gets. The environment variable GLUONZIP_CHUNK says otherwise: "never", or a
// number of images for as many nodes as can run so ("auto": the estimate). Throws kConfig for
// anything else.
Chunking choose_chunking(const Network& network, const std::vector<TensorType>& types,
                         const std::vector<int32_t>& given_out);

}  // namespace glz
