// The interface of an operator. Its life: constructed when a network is loaded, prepared once (its
// weights packed for the ISA), then planned for each distinct set of input shapes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../kernels/table.h"
#include "node.h"
#include "step.h"

namespace glz {

// What an operator may ask for while it plans. Implemented by the engine's planner.
class OpPlan {
 public:
  virtual ~OpPlan() = default;
  virtual const KernelTable& table() const = 0;
  virtual int threads() const = 0;
  virtual bool has_input(size_t i) const = 0;
  virtual const TensorType& input_type(size_t i) const = 0;
  virtual const TensorType& output_type(size_t i = 0) const = 0;

  // How input i's rank is laid out (flattened images stay images); no memory.
  virtual View input_home(size_t i) const = 0;
  // Input i where its producer left it: any layout but planes, any stride.
  virtual View raw(size_t i) = 0;
  // Whether input i or output i are in planes.
  virtual bool input_in_planes(size_t i) const = 0;
  virtual bool output_in_planes(size_t i = 0) const = 0;
  // Input i in the layout that its rank keeps (view.h); flattened images stay images (Traits).
  virtual View input(size_t i) = 0;
  // Input i in a given layout and element type, converted once for all who ask. `compact`: with
  // nothing but pad lanes between pixels.
  virtual View input_as(size_t i, Layout layout, ElementType type, bool compact = false) = 0;

  // How output i will be laid out; no memory yet.
  virtual View output_home(size_t i = 0) const = 0;
  // Where output i goes: the layout its rank keeps, possibly a slice of a concat's output; or in
  // planes.
  virtual View output(size_t i = 0) = 0;
  // Puts output i where `view` is (laid out as output_home(i) says): no step needed.
  virtual void alias(size_t i, const View& view) = 0;

  // Memory that lives until this node is done.
  virtual View temporary(View view) = 0;
  virtual void add(std::unique_ptr<Step> step) = 0;
};

// How the planner may treat an operator's tensors.
struct Traits {
  bool elementwise = false;      // y[i] = f(x[i]): runs on flattened images as on images
  bool takes_flattened = false;  // reads rank-2 input as the image it was flattened from
  bool reinterprets = false;     // the same elements under another shape; no memory of its own
  bool concatenates = false;     // along channels: inputs may be written in place
  bool strided_output = true;    // can write into a slice of a concat's output
  bool reads_pads = false;       // float32 pad lanes must be finite (they meet zero weights)
};

class Op {
 public:
  explicit Op(const Node& node) : label_(node.label()) {}
  virtual ~Op() = default;

  // Types of the outputs. Throws kShape, naming the node, when the inputs do not fit.
  virtual OutputTypes infer(const InputTypes& inputs) const = 0;
  virtual Traits traits() const { return {}; }
  // Whether axis 0 counts images and those of the output depend on the same ones of the inputs
  // alone: then a batch may be run in parts. Whether the shapes of one image fit is seen to
  // elsewhere (engine/chunking.h).
  virtual bool per_image(const InputTypes& inputs) const {
    (void)inputs;
    return false;
  }

  // Whether the constant at input i is packed by prepare() and not needed afterwards.
  virtual bool absorbs(size_t i) const {
    (void)i;
    return false;
  }
  // Packs the absorbed constants; called once, before the first plan(). `homes` says how each
  // input will be laid out (its sizes are those of the first plan).
  virtual void prepare(const InputTypes& inputs, const std::vector<View>& homes,
                       const KernelTable& table) {
    (void)inputs;
    (void)homes;
    (void)table;
  }
  virtual size_t weight_bytes() const { return 0; }
  // Whether, as prepared, it reads input i or writes its output in planes of words when a plan has
  // these inputs.
  virtual bool reads_planes(size_t i, const InputTypes& inputs) const {
    (void)i;
    (void)inputs;
    return false;
  }
  virtual bool writes_planes(const InputTypes& inputs) const {
    (void)inputs;
    return false;
  }

  virtual void plan(OpPlan& plan) const = 0;

  const std::string& label() const { return label_; }

 protected:
  std::string label_;
};

// Whether the operator packs constant i as it is stored; it needs all others decoded.
bool streams_input(const std::string& op, size_t i);

// Throws kUnsupported, naming operator and node, when the registry has no such operator.
std::unique_ptr<Op> make_op(const Node& node);

}  // namespace glz
