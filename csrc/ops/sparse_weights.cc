#include "sparse_weights.h"

namespace glz {

void SparseWeights::hold(Buffer packed, SparseSize size) {
  state_ = std::make_unique<State>();
  state_->size = size;
  const int64_t form = sparse_header(packed.data()).form;
  state_->forms.emplace(form, std::move(packed));
}

const Buffer& SparseWeights::first() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->forms.begin()->second;
}

const Buffer& SparseWeights::in_form(const ConvGeometry& g, bool integer, SparseForm form) const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  auto& forms = state_->forms;
  const auto found = forms.find(form.vectors);
  if (found != forms.end()) return found->second;
  const Buffer& from = forms.begin()->second;
  Buffer packed =
      integer ? sparse_repack<int8_t>(g, from, form) : sparse_repack<float>(g, from, form);
  return forms.emplace(form.vectors, std::move(packed)).first->second;
}

size_t SparseWeights::bytes() const {
  if (!held()) return 0;
  const std::lock_guard<std::mutex> lock(state_->mutex);
  size_t bytes = 0;
  for (const auto& [form, packed] : state_->forms) bytes += packed.size();
  return bytes;
}

}  // namespace glz
