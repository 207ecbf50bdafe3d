#include "planner.h"

#include <algorithm>

#include "../ops/convert.h"

namespace glz {
namespace {

constexpr size_t kMaxRank = 32;
constexpr int64_t kMaxElements = int64_t{1} << 31;

std::vector<int32_t> concatenated(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void check_input(const ModelInput& expected, const Shape& shape) {
  bool fits = shape.size() == expected.shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] > 0 && (expected.shape[i] == 0 || expected.shape[i] == shape[i]);
  }
  if (fits) return;
  std::string wanted;
  for (int64_t n : expected.shape) {
    wanted += (wanted.empty() ? "" : ", ") + (n == 0 ? std::string("any") : std::to_string(n));
  }
  throw Error(ErrorKind::kShape, "input '" + expected.name + "' has shape " + to_string(shape) +
                                     "; the network needs (" + wanted + ")");
}

void check_size(const TensorType& type, const std::string& label) {
  GLZ_CHECK(type.rank() <= kMaxRank && type.elements() <= kMaxElements, kShape,
            label << ": an output of shape " << to_string(type.shape) << " is too large");
}

bool same_pixels(const View& a, const View& b) {
  return a.n == b.n && a.h == b.h && a.w == b.w && a.c == b.c;
}

}  // namespace

Planner::Planner(std::shared_ptr<const Network> network, int threads, std::vector<int32_t> taps)
    : network_(*network),
      threads_(threads),
      given_out_(concatenated(network->outputs(), taps)),
      plan_(std::make_unique<Plan>()) {
  plan_->network = std::move(network);
}

std::unique_ptr<Plan> Planner::build(const std::vector<Shape>& input_shapes) {
  plan_->input_shapes = input_shapes;
  infer_types(input_shapes);
  find_uses();
  choose_homes();
  {
    std::vector<View> homes;
    for (const Tensor& tensor : tensors_) homes.push_back(tensor.home);
    network_.prepare(types_, homes);
  }
  choose_head();
  choose_planes();
  place_in_concats();
  place_inputs();
  enter_head();
  const int32_t count = static_cast<int32_t>(network_.nodes().size());
  for (now_ = 0; now_ < count; ++now_) {
    plan_node();
    if (now_ + 1 == head_.nodes) leave_head();
  }
  for (size_t i = 0; i < given_out_.size(); ++i) {
    give_out(given_out_[i], static_cast<int32_t>(i));
    plan_->outputs.push_back(types_[given_out_[i]]);
  }
  plan_->arena_bytes = place_storages(&plan_->storages);
  for (const auto& step : plan_->steps) {
    plan_->workspace_bytes = std::max(plan_->workspace_bytes, step->workspace);
  }
  return std::move(plan_);
}

bool Planner::given_out(int32_t tensor) const {
  return std::find(given_out_.begin(), given_out_.end(), tensor) != given_out_.end();
}

// ---------------------------------------------------------------- types and layouts
void Planner::infer_types(const std::vector<Shape>& input_shapes) {
  types_.resize(network_.tensors().size());
  for (size_t id = 0; id < types_.size(); ++id) {
    const NetworkTensor& tensor = network_.tensors()[id];
    if (tensor.constant != nullptr) types_[id].shape = tensor.constant->shape;
    if (tensor.input >= 0) {
      check_input(network_.inputs()[tensor.input], input_shapes[tensor.input]);
      types_[id].shape = input_shapes[tensor.input];
    }
  }
  infer_nodes(static_cast<int32_t>(network_.nodes().size()));
}

void Planner::infer_nodes(int32_t count) {
  for (int32_t index = 0; index < count; ++index) {
    const NetworkNode& node = network_.nodes()[index];
    OutputTypes outputs = node.op->infer(input_types(node));
    GLZ_CHECK(outputs.size() == node.outputs.size(), kGraph,
              node.op->label() << " has " << node.outputs.size() << " outputs, must have "
                               << outputs.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      check_size(outputs[i], node.op->label());
      types_[node.outputs[i]] = std::move(outputs[i]);
    }
  }
}

// Looks at each tensor's readers, the last node's first.
void Planner::find_uses() {
  uses_.resize(types_.size());
  const auto look = [this](int32_t id) {
    Uses& uses = uses_[id];
    uses.accepts_flattened = true;
    for (int32_t index : network_.tensors()[id].consumers) {
      const NetworkNode& node = network_.nodes()[index];
      const Traits traits = node.op->traits();
      const Uses& behind = uses_[node.outputs[0]];
      uses.reads_pads |= traits.reads_pads || (traits.reinterprets && behind.reads_pads);
      const bool only_input =
          node.inputs[0] == id && std::count(node.inputs.begin(), node.inputs.end(), id) == 1;
      const bool same_shape = types_[node.outputs[0]].shape == types_[id].shape;
      const bool passes = traits.elementwise || (traits.reinterprets && same_shape);
      uses.accepts_flattened &=
          only_input && (passes ? behind.accepts_flattened : traits.takes_flattened);
    }
  };
  const auto& nodes = network_.nodes();
  for (size_t i = nodes.size(); i-- > 0;) {
    for (int32_t id : nodes[i].outputs) look(id);
  }
  for (size_t id = 0; id < types_.size(); ++id) {
    if (network_.tensors()[id].producer < 0) look(static_cast<int32_t>(id));
  }
}

bool Planner::flattens(const NetworkNode& node) const {
  if (!node.op->traits().reinterprets) return false;
  const TensorType& x = types_[node.inputs[0]];
  const TensorType& y = types_[node.outputs[0]];
  return x.rank() == 4 && y.rank() == 2 && x.shape[0] == y.shape[0];
}

void Planner::choose_homes() {
  tensors_.resize(types_.size());
  for (size_t id = 0; id < types_.size(); ++id) tensors_[id].home = home_view(types_[id]);
  for (const NetworkNode& node : network_.nodes()) {
    const Traits traits = node.op->traits();
    if (node.outputs.size() != 1 || !(traits.reinterprets || traits.elementwise)) continue;
    const View& from = tensors_[node.inputs[0]].home;
    View& to = tensors_[node.outputs[0]].home;
    const bool image_behind = from.layout == Layout::kPixels && from.h * from.w > 1 &&
                              types_[node.outputs[0]].rank() == 2;
    const bool was_flattened = types_[node.inputs[0]].rank() == 2;
    if (!image_behind || !(was_flattened || flattens(node))) continue;
    if (!uses_[node.outputs[0]].accepts_flattened) continue;
    const ElementType type = to.type;
    to = from;
    to.type = type;
  }
}

InputTypes Planner::input_types(const NetworkNode& node) const {
  InputTypes inputs;
  for (int32_t id : node.inputs) inputs.push_back(id < 0 ? nullptr : &types_[id]);
  return inputs;
}

bool Planner::only_read_in_planes(int32_t id) const {
  const NetworkTensor& tensor = network_.tensors()[id];
  for (int32_t index : tensor.consumers) {
    const NetworkNode& reader = network_.nodes()[index];
    for (size_t i = 0; i < reader.inputs.size(); ++i) {
      if (reader.inputs[i] == id && !reader.op->reads_planes(i, input_types(reader))) {
        return false;
      }
    }
  }
  return !tensor.consumers.empty() && !given_out(id);
}

void Planner::choose_planes() {
  for (const NetworkNode& node : network_.nodes()) {
    const int32_t id = node.outputs[0];
    tensors_[id].planes = types_[id].rank() == 4 && node.op->writes_planes(input_types(node)) &&
                          only_read_in_planes(id) && (id != head_.handover || aligned_chunks());
  }
}

// ---------------------------------------------------------------- placement
bool Planner::can_place(int32_t id, const Tensor& concat, int64_t channel, bool last) const {
  const NetworkTensor& tensor = network_.tensors()[id];
  const View& home = tensors_[id].home;
  if (tensor.producer < 0 || tensors_[id].parent >= 0) return false;
  const Traits traits = network_.nodes()[tensor.producer].op->traits();
  const View& out = concat.home;
  return traits.strided_output && !traits.reinterprets && home.layout == Layout::kPixels &&
         home.type == out.type && home.h == out.h && home.w == out.w && id != head_.handover &&
         channel % kChannelAlign == 0 && (last || home.c % kChannelAlign == 0);
}

// The inputs of a concat are written where the concat wants them. From the last concat to the
// first, so that one inside another goes straight to the outermost.
void Planner::place_in_concats() {
  const auto& nodes = network_.nodes();
  for (size_t i = nodes.size(); i-- > 0;) {
    if (!nodes[i].op->traits().concatenates) continue;
    const int32_t out = nodes[i].outputs[0];
    if (tensors_[out].home.layout != Layout::kPixels) continue;
    int64_t channel = 0;
    for (size_t k = 0; k < nodes[i].inputs.size(); ++k) {
      const int32_t id = nodes[i].inputs[k];
      const bool same_scale =
          types_[id].dtype == types_[out].dtype && types_[id].scale == types_[out].scale;
      if (same_scale && can_place(id, tensors_[out], channel, k + 1 == nodes[i].inputs.size())) {
        tensors_[id].parent = out;
        tensors_[id].parent_channel = channel;
      }
      channel += tensors_[id].home.c;
    }
  }
}

void Planner::place_inputs() {
  for (size_t id = 0; id < tensors_.size(); ++id) {
    const NetworkTensor& tensor = network_.tensors()[id];
    if (tensor.producer >= 0 || (tensor.consumers.empty() && !given_out(id))) continue;
    View view = plain_view(types_[id], ElementType::kF32);
    if (tensor.constant != nullptr) {
      view.ref.storage = new_storage(Storage::Kind::kConstant, view.bytes());
      plan_->storages[view.ref.storage].constant = network_.constant_values(id);
    } else {
      view.ref.storage = new_storage(Storage::Kind::kInput, view.bytes(), tensor.input);
      plan_->storages[view.ref.storage].advance = view.bytes();
    }
    tensors_[id].forms = {view};
  }
}

int32_t Planner::new_storage(Storage::Kind kind, int64_t bytes, int32_t index) {
  Storage storage;
  storage.kind = kind;
  storage.bytes = bytes;
  storage.first = storage.last = now_;
  storage.index = index;
  plan_->storages.push_back(storage);
  return static_cast<int32_t>(plan_->storages.size()) - 1;
}

View Planner::touch(View view) {
  plan_->storages[view.ref.storage].last = now_;
  return view;
}

// ---------------------------------------------------------------- one node
void Planner::plan_node() {
  node().op->plan(*this);
  for (int32_t id : node().outputs) {
    GLZ_CHECK(!tensors_[id].forms.empty(), kGraph, node().op->label() << " made no output");
    const View& home = tensors_[id].forms[0];
    if (home.layout == Layout::kPixels && home.type == ElementType::kF32 &&
        home.c % kChannelAlign != 0 && !node().op->traits().reinterprets && uses_[id].reads_pads) {
      add(make_clear_pads(tensors_[id].forms[0]));
    }
  }
}

bool Planner::has_input(size_t i) const {
  return i < node().inputs.size() && node().inputs[i] >= 0;
}

View Planner::raw(size_t i) { return touch(outside_planes(node().inputs[i])); }

View Planner::input(size_t i) {
  const View& home = tensors_[node().inputs[i]].home;
  return converted(node().inputs[i], home.layout, home.type, false);
}

View Planner::input_as(size_t i, Layout layout, ElementType type, bool compact) {
  return converted(node().inputs[i], layout, type, compact);
}

int32_t Planner::direct_output(int32_t id) const {
  const NetworkTensor& tensor = network_.tensors()[id];
  const bool once = std::count(given_out_.begin(), given_out_.end(), id) == 1;
  const bool shared = network_.nodes()[tensor.producer].op->traits().concatenates;
  const View& home = tensors_[id].home;
  if (!once || shared || !tensor.consumers.empty() || !home.row_major() ||
      home.type != ElementType::kF32) {
    return -1;
  }
  return static_cast<int32_t>(std::find(given_out_.begin(), given_out_.end(), id) -
                              given_out_.begin());
}

View Planner::output(size_t i) {
  const int32_t id = node().outputs[i];
  Tensor& tensor = tensors_[id];
  if (!tensor.forms.empty()) return touch(tensor.forms[0]);
  if (tensor.planes) {
    View planes = plane_view(types_[id], tensor.home.type);
    if (id == head_.handover) planes.stride = plane_pitch(planes.rows() * plan_->chunks);
    planes.ref.storage = own_storage(id, planes);
    tensor.forms = {planes};
    return planes;
  }
  View view = tensor.home;
  int32_t root = id;
  int64_t channel = 0;
  while (tensors_[root].parent >= 0) {
    channel += tensors_[root].parent_channel;
    root = tensors_[root].parent;
  }
  if (tensors_[root].storage < 0) {
    const int32_t direct = direct_output(root);
    tensors_[root].storage =
        direct >= 0 ? new_storage(Storage::Kind::kOutput, tensors_[root].home.bytes(), direct)
                    : own_storage(root, tensors_[root].home);
  }
  view.ref = {tensors_[root].storage, channel * view.element_bytes()};
  if (view.layout == Layout::kPixels) view.stride = tensors_[root].home.stride;
  view.sliced = root != id;
  tensor.forms = {view};
  return touch(view);
}

void Planner::alias(size_t i, const View& view) { tensors_[node().outputs[i]].forms = {view}; }

View Planner::temporary(View view) {
  view.ref = {new_storage(Storage::Kind::kArena, view.bytes()), 0};
  return view;
}

void Planner::add(std::unique_ptr<Step> step) {
  if (now_ < static_cast<int32_t>(network_.nodes().size())) step->node = now_;
  plan_->steps.push_back(std::move(step));
}

// ---------------------------------------------------------------- conversions
// Where the producer left it, or in pixels if that is in planes.
View Planner::outside_planes(int32_t id) {
  for (const View& form : tensors_[id].forms) {
    if (form.layout != Layout::kPlanes) return form;
  }
  const View from = tensors_[id].forms[0];
  return convert(id, from, pixel_view(types_[id], from.type));
}

View Planner::converted(int32_t id, Layout layout, ElementType type, bool compact) {
  Tensor& tensor = tensors_[id];
  for (const View& form : tensor.forms) {
    // The caller's memory has no readable bytes past its end.
    const bool foreign = plan_->storages[form.ref.storage].kind == Storage::Kind::kInput;
    if (form.type != type || foreign) continue;
    if (layout == Layout::kPlanes && form.layout == layout) return touch(form);
    if (layout == Layout::kPixels && form.layout == layout && (!compact || form.compact()) &&
        same_pixels(form, tensor.home)) {
      return touch(form);
    }
    if (layout == Layout::kPlain && form.row_major()) {
      View view = plain_view(types_[id], type);
      view.ref = form.ref;
      return touch(view);
    }
  }
  if (layout == Layout::kPlanes) {
    const View pixels = converted(id, Layout::kPixels, type, false);
    return convert(id, pixels, plane_view(types_[id], type));
  }
  if (layout == Layout::kPlain) {
    return convert(id, outside_planes(id), plain_view(types_[id], type));
  }
  View to = tensor.home;
  to.type = type;
  to.layout = Layout::kPixels;
  to.stride = channel_stride(to.c);
  View from = outside_planes(id);
  if (from.layout == Layout::kPixels && same_pixels(from, to) && from.type == type && !compact) {
    return touch(from);
  }
  if (from.layout == Layout::kPixels && !same_pixels(from, to)) {
    from = converted(id, Layout::kPlain, from.type, false);
  }
  return convert(id, from, to);
}

View Planner::convert(int32_t id, const View& from, View to) {
  touch(from);
  to.ref = {new_storage(Storage::Kind::kArena, to.bytes()), 0};
  add(make_convert(from, to, types_[id], table(), threads_));
  // Planes to pixels writes the pad lanes too.
  const bool pads = to.layout == Layout::kPixels && to.c % kChannelAlign != 0 &&
                    !(from.layout == Layout::kPlain && to.h * to.w > 1);
  if (pads && to.type == ElementType::kF32) add(make_clear_pads(to));
  if (network_.tensors()[id].input >= 0) plan_->steps.back()->node = Step::kInputSide;
  tensors_[id].forms.push_back(to);
  return to;
}

void Planner::give_out(int32_t id, int32_t index) {
  const View from = touch(outside_planes(id));
  const Storage& storage = plan_->storages[from.ref.storage];
  if (storage.kind == Storage::Kind::kOutput && storage.index == index) return;
  View to = plain_view(types_[id], element_type(types_[id].dtype));
  to.foreign_codes = holds_codes(to.type);
  to.ref = {new_storage(Storage::Kind::kOutput, to.bytes(), index), 0};
  add(make_convert(from, to, types_[id], table(), threads_));
}

std::unique_ptr<Plan> make_plan(std::shared_ptr<const Network> network,
                                const std::vector<Shape>& input_shapes, int threads,
                                const std::vector<int32_t>& taps) {
  return Planner(std::move(network), threads, taps).build(input_shapes);
}

}  // namespace glz
