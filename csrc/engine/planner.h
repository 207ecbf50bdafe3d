// Turns a network and input shapes into a Plan: types, layouts, placement, then each operator's
// steps.
#pragma once

#include "chunking.h"
#include "plan.h"

namespace glz {

class Planner final : public OpPlan {
 public:
  Planner(std::shared_ptr<const Network> network, int threads, std::vector<int32_t> taps);
  std::unique_ptr<Plan> build(const std::vector<Shape>& input_shapes);

  // OpPlan, for the node being planned
  const KernelTable& table() const override { return network_.table(); }
  int threads() const override { return threads_; }
  bool has_input(size_t i) const override;
  const TensorType& input_type(size_t i) const override { return types_[node().inputs[i]]; }
  const TensorType& output_type(size_t i) const override { return types_[node().outputs[i]]; }
  View input_home(size_t i) const override { return tensors_[node().inputs[i]].home; }
  View raw(size_t i) override;
  bool input_in_planes(size_t i) const override { return tensors_[node().inputs[i]].planes; }
  bool output_in_planes(size_t i) const override { return tensors_[node().outputs[i]].planes; }
  View input(size_t i) override;
  View input_as(size_t i, Layout layout, ElementType type, bool compact) override;
  View output_home(size_t i) const override { return tensors_[node().outputs[i]].home; }
  View output(size_t i) override;
  void alias(size_t i, const View& view) override;
  View temporary(View view) override;
  void add(std::unique_ptr<Step> step) override;

 private:
  struct Tensor {
    View home;                // layout; no memory
    bool planes = false;      // its producer writes it in planes, and all readers take it so
    std::vector<View> forms;  // the first is where its producer left it
    int32_t storage = -1;
    int32_t parent = -1;  // the concat's output that it is written into
    int64_t parent_channel = 0;
  };

  struct Uses {
    bool accepts_flattened = false;  // only dense layers read it: they take the image as it is
    bool reads_pads = false;
  };

  const NetworkNode& node() const { return network_.nodes()[now_]; }
  bool given_out(int32_t tensor) const;

  void infer_types(const std::vector<Shape>& input_shapes);
  void infer_nodes(int32_t count);
  void find_uses();
  void choose_homes();
  bool flattens(const NetworkNode& node) const;
  void choose_head();
  void enter_head();
  void leave_head();
  bool aligned_chunks() const;
  void choose_planes();
  InputTypes input_types(const NetworkNode& node) const;
  bool only_read_in_planes(int32_t tensor) const;
  void place_in_concats();
  bool can_place(int32_t tensor, const Tensor& concat, int64_t channel, bool last) const;
  void place_inputs();
  void plan_node();
  void give_out(int32_t tensor, int32_t index);
  int32_t direct_output(int32_t tensor) const;

  int32_t new_storage(Storage::Kind kind, int64_t bytes, int32_t index = 0);
  int32_t own_storage(int32_t tensor, const View& view);
  View touch(View view);
  View outside_planes(int32_t tensor);
  View converted(int32_t tensor, Layout layout, ElementType type, bool compact);
  View convert(int32_t tensor, const View& from, View to);

  const Network& network_;
  const int threads_;
  const std::vector<int32_t> given_out_;  // outputs, then taps
  std::unique_ptr<Plan> plan_;
  std::vector<TensorType> types_;
  std::vector<Uses> uses_;
  std::vector<Tensor> tensors_;
  int32_t now_ = 0;  // the node being planned; their number while giving out
  Chunking head_;
};

}  // namespace glz
