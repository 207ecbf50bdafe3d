// Packed sparse weights of a layer, in the forms that its plans need: products of one row (words,
// or a bitmap), of few pixels and of many are packed differently.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "../kernels/sparse_conv/packer.h"

namespace glz {

class SparseWeights {
 public:
  void hold(Buffer packed, SparseSize size);
  bool held() const { return state_ != nullptr; }
  SparseSize size() const { return state_->size; }
  // In that form: packed when it is first asked for, then kept. Valid as long as this object.
  const Buffer& in_form(const ConvGeometry& g, bool integer, SparseForm form) const;
  // With their zeros. Weight: int8_t or float.
  template <typename Weight>
  std::vector<Weight> dense(const ConvGeometry& g) const {
    return sparse_unpack<Weight>(g, first());
  }
  size_t bytes() const;

 private:
  const Buffer& first() const;

  struct State {
    SparseSize size;
    std::mutex mutex;
    std::map<int64_t, Buffer> forms;  // by their vectors
  };
  std::unique_ptr<State> state_;
};

}  // namespace glz
