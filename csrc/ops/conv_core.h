// What conv2d, conv_transpose2d and dense share: packed filters, the epilogue's constants, and the
// steps that call the convolution kernels.
#pragma once

#include <vector>

#include "../base/buffer.h"
#include "../kernels/sparse_conv/planes.h"
#include "constants.h"
#include "epilogue.h"
#include "filter.h"
#include "op.h"
#include "partition.h"
#include "sparse_choice.h"
#include "sparse_weights.h"

namespace glz {

// The type of what the kernel multiplies: `x`, or codes of a scale that the batch will say.
TensorType multiplied_type(const TensorType& x, bool dynamic);

// Throws kShape unless the bias is absent or has a number for each output channel.
void check_bias(const ModelTensor* bias, int64_t out, const std::string& label);

// A layer's input as its kernel wants it.
struct ConvInput {
  View view;
  Ref multiplier;  // of the epilogue, if only this batch's scale says it
};

class ConvCore {
 public:
  // Whether float32 input is to become codes of its own scale. Before prepare().
  void set_dynamic(bool dynamic) { dynamic_ = dynamic; }
  bool dynamic() const { return dynamic_; }
  // Weights of few bits may stay packed: input row r is output row r's. Before prepare().
  void keep_low_bits() { may_keep_low_bits_ = true; }

  // Packs `filter` and the constants of the epilogue. x: the input's type; bias may be null;
  // `window` has the strides, pads and dilation that plan() will be called with, and n, oh, ow of
  // the first plan, by which dense or sparse is chosen.
  void prepare(Filter filter, const ConvGeometry& window, const ModelTensor* bias, const Tail& tail,
               const TensorType& x, const KernelTable& table);

  ElementType input_type() const { return input_type_; }
  // Input `i` in that layout, as input_type().
  ConvInput input(OpPlan& plan, size_t i, Layout layout, bool compact = false) const;
  size_t bytes() const;

  // Whether a plan with these n, oh, ow reads and writes planes of words: of codes if the input
  // holds codes.
  bool takes_planes(const ConvGeometry& window) const;
  // Whether a residual in planes then suits an output in pixels.
  bool mixes_residual() const { return out_channels_ % kPlanePanel == 0; }

  // Adds the step. `geometry` holds n, h, w, kernel, strides, pads, dilation, oh, ow; channels and
  // packing are filled in here. `residual` may be null.
  void plan(OpPlan& plan, ConvGeometry geometry, const ConvInput& input, const View* residual,
            float residual_scale, const View& out) const;

 private:
  template <typename Weight, typename Kernel>
  void pack_whole(const Kernel& kernel, const ConvGeometry& window, const Filter& filter,
                  const Weight* weights);
  template <typename Weight, typename Kernel>
  void pack_rows(const Kernel& kernel, const ConvGeometry& window, const Filter& filter);
  void pack_narrow(const GroupedS8Kernel& kernel, const ConvGeometry& window,
                   const int8_t* weights);
  // Packs for the sparse kernel if that may pay; whether it does for the first plan.
  template <typename Weight, typename Sparse>
  bool pack_sparse(const Sparse& sparse, const BitmapS8Kernel& bitmap, const ConvGeometry& window,
                   const Filter& filter);
  // Packs weights of few bits as such, if that suits them and the rows of the first plan;
  // `smallest`: and if they are stored as such and no bitmap would take less.
  bool pack_low_bits(const DenseLowBitsKernel& kernel, const ConvGeometry& window, Filter* filter,
                     bool smallest);
  ConvGeometry group_geometry(ConvGeometry geometry) const;
  // Dense or sparse, for a plan with these n, oh, ow.
  SparseChoice choose(const ConvGeometry& g) const;
  // Whether sparse may pay for other numbers of images than those of the first plan.
  bool may_be_sparse(const ConvGeometry& g, SparseSize size) const;
  // The dense kernel's weights: made from the sparse ones if only those are there.
  const Buffer& dense_weights(const KernelTable& table) const;
  // Nanoseconds of so many tiles of rows and panels of output channels, when sparse.
  TaskCost sparse_task_cost(const ConvGeometry& g, int64_t panel, bool bitmap) const;

  Tail tail_;
  bool integer_ = false;
  bool dynamic_ = false;
  std::vector<float> weight_scale_;  // of each output channel, if dynamic
  ElementType input_type_ = ElementType::kF32;
  bool depthwise_ = false;
  int64_t width_ = 0;  // channels of a group, if one kernel does all groups (depthwise: 1); else 0
  bool may_keep_low_bits_ = false, low_bits_ = false;
  SparseKernels sparse_kernels_;  // of this ISA
  SparsePolicy policy_ = SparsePolicy::kAuto;
  std::string note_;  // why dense, if no sparse weights are kept
  int64_t groups_ = 1;
  int64_t channels_ = 0, out_channels_ = 0;  // of one group
  int64_t kh_ = 1, kw_ = 1;
  mutable std::unique_ptr<std::mutex> packing_ = std::make_unique<std::mutex>();
  mutable size_t group_bytes_ = 0;  // of packed_
  mutable Buffer packed_;           // dense
  SparseWeights sparse_;
  Buffer multiplier_, bias_;
};

}  // namespace glz
