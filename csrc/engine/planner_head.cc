// The part of a plan that runs in chunks of the batch (chunking.h).
#include "planner.h"

namespace glz {

// The head's tensors get the types of one chunk. The handover has those of the whole batch but
// while the head is planned, so that its readers are asked about what they will read.
void Planner::choose_head() {
  head_ = choose_chunking(network_, types_, given_out_);
  if (head_.none()) return;
  const TensorType whole = types_[head_.handover];
  plan_->chunks = whole.shape[0] / head_.images;
  for (size_t id = 0; id < types_.size(); ++id) {
    Shape& shape = types_[id].shape;
    if (network_.tensors()[id].input >= 0 && !shape.empty()) shape[0] = head_.images;
  }
  infer_nodes(head_.nodes);
  types_[head_.handover] = whole;
  choose_homes();
}

void Planner::enter_head() {
  if (head_.none()) return;
  types_[head_.handover].shape[0] = tensors_[head_.handover].home.n = head_.images;
}

// What the head wrote part by part is one tensor for the rest.
void Planner::leave_head() {
  Tensor& tensor = tensors_[head_.handover];
  View& view = tensor.forms[0];
  plan_->storages[view.ref.storage].advance =
      view.layout == Layout::kPlanes ? view.rows() * 4 : view.bytes();
  view.n = tensor.home.n = types_[head_.handover].shape[0] = head_.images * plan_->chunks;
  plan_->head_steps = plan_->steps.size();
}

// Where a chunk's part of each plane begins.
bool Planner::aligned_chunks() const {
  const Shape& shape = types_[head_.handover].shape;
  return head_.images * shape[2] * shape[3] % kPixelAlign == 0;
}

// Memory of a node's output. The handover holds every chunk, from the first one's first step on.
int32_t Planner::own_storage(int32_t id, const View& view) {
  const bool whole = id == head_.handover;
  const int64_t parts = whole && view.layout != Layout::kPlanes ? plan_->chunks : 1;
  const int32_t storage = new_storage(Storage::Kind::kArena, view.bytes() * parts);
  if (whole) plan_->storages[storage].first = 0;
  return storage;
}

}  // namespace glz
