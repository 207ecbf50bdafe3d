#include "conv_core.h"

#include <algorithm>
#include <cmath>

#include "../kernels/dense_low_bits/packing.h"
#include "../kernels/sparse_conv/packer.h"
#include "dynamic.h"
#include "partition.h"
#include "sparse_choice.h"

namespace glz {
namespace {

// Kernels may read constants up to the next multiple of 64 channels from any group's first.
Buffer channel_constants(int64_t channels) {
  const size_t bytes = (round_up(channels, 64) + 64) * sizeof(float);
  Buffer buffer(bytes);
  std::memset(buffer.data(), 0, bytes);
  return buffer;
}

template <typename T>
std::vector<T> block_diagonal(const Filter& f, const std::vector<T>& weights, int64_t merged) {
  const int64_t out_of_group = f.out / f.groups, wide = f.channels * merged;
  std::vector<T> result(f.out * f.taps() * wide, T(0));
  for (int64_t o = 0; o < f.out; ++o) {
    const int64_t place = o / out_of_group % merged * f.channels;
    for (int64_t t = 0; t < f.taps(); ++t) {
      std::copy_n(&weights[(o * f.taps() + t) * f.channels], f.channels,
                  &result[(o * f.taps() + t) * wide + place]);
    }
  }
  return result;
}

// Puts each `merged` groups together.
void merge_groups(Filter* f, int64_t merged) {
  if (merged == 1) return;
  if (f->quantized()) {
    f->codes = block_diagonal(*f, f->codes, merged);
  } else {
    f->values = block_diagonal(*f, f->values, merged);
  }
  f->channels *= merged;
  f->groups /= merged;
}

// Kernels address groups at multiples of 4 channels. Narrower groups are put together, with zeros
// where one group's outputs meet another's inputs. Groups with fewer outputs than a vector has
// `lanes` are put together until they fill it: the zeros multiply in lanes that would be idle.
void align_groups(Filter* f, int64_t lanes) {
  const int64_t out = f->out / f->groups;
  const auto fits = [&](int64_t merged) {
    return f->groups % merged == 0 &&
           (merged == f->groups ||
            (merged * f->channels % kChannelAlign == 0 && merged * out % kChannelAlign == 0));
  };
  int64_t merged = 1;
  while (!fits(merged)) ++merged;
  for (int64_t more = merged; more * out <= lanes; ++more) {
    if (fits(more)) merged = more;
  }
  merge_groups(f, merged);
}

// The channels of each group if the kernel of narrow groups is to have them; else 0. Pairs of two
// channels are put together first.
int64_t narrow_groups(Filter* f, int64_t widest) {
  if (!f->quantized() || f->groups < 2 || f->out != f->groups * f->channels) return 0;
  if (f->channels == 2 && f->groups % 2 == 0) merge_groups(f, 2);
  return is_narrow_group(f->channels) && f->channels <= widest ? f->channels : 0;
}

template <typename Args>
void set_pitch(Args*, const PlanePitches&) {}
void set_pitch(SparseS8Args* args, const PlanePitches& pitch) { args->pitch = pitch; }
void set_pitch(SparseF32Args* args, const PlanePitches& pitch) { args->pitch = pitch; }

int64_t pitch_of(const View& view) { return view.layout == Layout::kPlanes ? view.stride : 0; }

// One convolution as tasks over groups x row blocks x panel blocks.
template <typename Args, typename Kernel, typename Input>
class ConvStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int thread) const override {
    const int64_t group = task / grid.tasks();
    task -= group * grid.tasks();
    Args args{};
    args.geometry = geometry;
    args.input = context.at<Input>(input) + group * geometry.channels;
    args.packed = packed + group * group_bytes;
    args.workspace = context.scratch(thread);
    args.epilogue = group_epilogue(context, group * geometry.out_channels);
    set_pitch(&args, pitch);
    const Range tiles = grid.row_range(task), panels = grid.panel_range(task);
    kernel_run(args, tiles.begin * tile_rows, std::min(tiles.end * tile_rows, geometry.rows()),
               panels.begin, panels.end);
  }

  int variants() const override { return static_cast<int>(grids.size()); }
  std::string variant_name(int variant) const override { return grids[variant].name(); }
  void choose(int variant) override {
    grid = grids[variant];
    tasks = grid.tasks() * groups;
  }

  Epilogue group_epilogue(const RunContext& context, int64_t channel) const {
    Epilogue e = epilogue;
    if (multiplier.storage >= 0) e.multiplier = context.at<float>(multiplier);
    if (e.multiplier != nullptr) e.multiplier += channel;
    if (e.bias != nullptr) e.bias += channel;
    e.output = context.at(output) + channel * (holds_codes(e.output_type) ? 1 : 4);
    if (residual.storage >= 0) {
      e.residual = context.at(residual) + channel * (holds_codes(e.residual_type) ? 1 : 4);
    }
    return e;
  }

  decltype(Kernel::run) kernel_run;
  ConvGeometry geometry;
  PlanePitches pitch;  // of sparse kernels
  Epilogue epilogue;
  Ref input, output, residual, multiplier;
  const char* packed;
  size_t group_bytes;
  int64_t tile_rows;
  int64_t groups;
  Grid grid;
  std::vector<Grid> grids;  // to choose from
};

template <typename Args>
void set_width(Args*, int64_t) {}
void set_width(GroupedS8Args* args, int64_t width) { args->width = width; }

// One convolution whose kernel does all groups, as tasks over image rows.
template <typename Args, typename Kernel, typename Input>
class DepthwiseStep final : public Step {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    Args args{};
    args.geometry = geometry;
    set_width(&args, width);
    args.input = context.at<Input>(input);
    args.packed = packed;
    args.epilogue = epilogue;
    args.epilogue.output = context.at(output);
    if (multiplier.storage >= 0) args.epilogue.multiplier = context.at<float>(multiplier);
    if (residual.storage >= 0) args.epilogue.residual = context.at(residual);
    const Range rows = part_of(geometry.n * geometry.oh, task, tasks);
    kernel_run(args, rows.begin, rows.end);
  }

  int variants() const override { return static_cast<int>(cuts.size()); }
  std::string variant_name(int variant) const override { return std::to_string(cuts[variant]); }
  void choose(int variant) override { tasks = cuts[variant]; }

  decltype(Kernel::run) kernel_run;
  ConvGeometry geometry;
  int64_t width = 1;  // channels of a group
  Epilogue epilogue;
  Ref input, output, residual, multiplier;
  const char* packed;
  std::vector<int64_t> cuts;  // numbers of tasks to choose from
};

// The planner's guess, then other numbers of tasks for `rows` items.
std::vector<int64_t> candidate_cuts(int64_t guess, int64_t rows, int threads) {
  std::vector<int64_t> cuts = {guess};
  for (int64_t tasks = threads; tasks <= std::min<int64_t>(rows, 16 * threads); tasks *= 2) {
    if (tasks != guess) cuts.push_back(tasks);
  }
  return cuts;
}

// What two steps that take equally long have in common.
std::string step_signature(const char* kernel, const ConvGeometry& g, int64_t groups,
                           const Epilogue& e, int threads) {
  std::string text = kernel;
  for (int64_t number : {g.n,
                         g.h,
                         g.w,
                         g.channels,
                         g.stride_c,
                         g.kh,
                         g.kw,
                         g.sh,
                         g.sw,
                         g.pad_top,
                         g.pad_left,
                         g.dh,
                         g.dw,
                         g.oh,
                         g.ow,
                         g.out_channels,
                         groups,
                         e.output_stride,
                         e.residual_stride,
                         static_cast<int64_t>(e.output_type),
                         static_cast<int64_t>(e.residual_type),
                         int64_t{e.leaky},
                         int64_t{threads}}) {
    text += " " + std::to_string(number);
  }
  return text;
}

}  // namespace

TensorType multiplied_type(const TensorType& x, bool dynamic) {
  if (!dynamic) return x;
  return {x.shape, DType::kS8, 1.0f};
}

template <typename Weight, typename Kernel>
void ConvCore::pack_whole(const Kernel& kernel, const ConvGeometry& window, const Filter& filter,
                          const Weight* weights) {
  const ConvGeometry g = group_geometry(window);
  group_bytes_ = round_up(kernel.packed_bytes(g), 64);
  packed_ = Buffer(group_bytes_ * groups_);
  const int64_t group_size = filter.out / filter.groups * filter.row();
  for (int64_t i = 0; i < groups_; ++i) {
    kernel.pack(g, weights + (depthwise_ ? 0 : i * group_size),
                packed_.as<char>() + i * group_bytes_);
  }
}

void ConvCore::pack_narrow(const GroupedS8Kernel& kernel, const ConvGeometry& window,
                           const int8_t* weights) {
  const ConvGeometry g = group_geometry(window);
  packed_ = Buffer(kernel.packed_bytes(g, width_));
  kernel.pack(g, width_, weights, packed_.data());
}

// Some panels of output channels at a time, as many as end at a multiple of 64 bytes: they lie one
// behind another, so that it makes no difference.
template <typename Weight, typename Kernel>
void ConvCore::pack_rows(const Kernel& kernel, const ConvGeometry& window, const Filter& filter) {
  ConvGeometry g = group_geometry(window);
  group_bytes_ = round_up(kernel.packed_bytes(g), 64);
  packed_ = Buffer(group_bytes_);
  const int64_t row = filter.row(), most = round_up(64, kernel.panel);
  std::vector<Weight> rows(std::min(most, filter.out) * row);
  char* to = packed_.as<char>();
  each_row<Weight>(filter, [&](int64_t o, const Weight* weights) {
    const int64_t at = o % most;
    std::copy_n(weights, row, &rows[at * row]);
    if (at + 1 < most && o + 1 < filter.out) return;
    g.out_channels = at + 1;
    kernel.pack(g, rows.data(), to);
    to += kernel.packed_bytes(g);
  });
}

// Two passes over the weights: to count, then to pack.
template <typename Weight, typename Sparse>
bool ConvCore::pack_sparse(const Sparse& sparse, const BitmapS8Kernel& bitmap,
                           const ConvGeometry& window, const Filter& filter) {
  const ConvGeometry g = group_geometry(window);
  SparsePacker<Weight> packer(g, sparse_form(g, sparse.lanes));
  each_row<Weight>(filter, [&](int64_t, const Weight* row) { packer.count(row); });
  sparse_kernels_ = {sparse.fast, bitmap.fast};
  policy_ = sparse_policy();
  SparseChoice now = choose_sparse(g, integer_, packer.size(), sparse_kernels_, policy_);
  note_ = std::move(now.why);
  if (now.sparse || may_be_sparse(g, packer.size())) {
    if (now.bitmap) packer.use_bitmap();
    each_row<Weight>(filter, [&](int64_t, const Weight* row) { packer.put(row); });
    sparse_.hold(packer.take(), packer.size());
  }
  return now.sparse;
}

bool ConvCore::may_be_sparse(const ConvGeometry& g, SparseSize size) const {
  const auto sparse_with = [&](int64_t images) {
    ConvGeometry other = g;
    other.n = images;
    if (g.n == 1 && g.oh == 1) other.ow = images;  // of a dense layer, which has rows alone
    return choose_sparse(other, integer_, size, sparse_kernels_, policy_).sparse;
  };
  return sparse_with(1) || sparse_with(16);
}

SparseChoice ConvCore::choose(const ConvGeometry& g) const {
  if (!sparse_.held()) return {false, false, note_};
  return choose_sparse(g, integer_, sparse_.size(), sparse_kernels_, policy_);
}

bool ConvCore::takes_planes(const ConvGeometry& window) const {
  const ConvGeometry g = group_geometry(window);
  return choose(g).sparse && !sparse_form(g, kPixelAlign).one_pixel();
}

const Buffer& ConvCore::dense_weights(const KernelTable& table) const {
  const std::lock_guard<std::mutex> lock(*packing_);
  if (packed_.size() > 0 || !sparse_.held()) return packed_;
  const ConvGeometry g = group_geometry({});
  const auto make = [&](const auto& kernel, const auto& weights) {
    group_bytes_ = round_up(kernel.packed_bytes(g), 64);
    packed_ = Buffer(group_bytes_);
    kernel.pack(g, weights.data(), packed_.data());
  };
  if (integer_) {
    make(table.conv_s8, sparse_.dense<int8_t>(g));
  } else {
    make(table.conv_f32, sparse_.dense<float>(g));
  }
  return packed_;
}

size_t ConvCore::bytes() const {
  const std::lock_guard<std::mutex> lock(*packing_);
  return packed_.size() + sparse_.bytes() + multiplier_.size() + bias_.size();
}

bool ConvCore::pack_low_bits(const DenseLowBitsKernel& kernel, const ConvGeometry& window,
                             Filter* filter, bool smallest) {
  const bool few_rows = window.rows() <= kernel.most_rows;
  if (!may_keep_low_bits_ || sparse_.held() || !few_rows || groups_ != 1) return false;
  // Spares the look at the codes of an ordinary weight.
  if (smallest && filter->weight != nullptr && filter->weight->bits > 4) return false;
  bool fits = true;
  int width = 0;
  int64_t zeros = 0;
  each_row<int8_t>(*filter, [&](int64_t, const int8_t* row) {
    const int bits = low_bits_width(row, filter->row());
    fits = fits && bits > 0;
    width = std::max(width, bits);
    if (fits && smallest) zeros += std::count(row, row + filter->row(), 0);
  });
  // A bitmap takes a bit a weight and a byte a value.
  const int64_t weights = filter->out * filter->row();
  if (!fits || (smallest && width * weights > weights + 8 * (weights - zeros))) return false;
  gather(filter);
  group_bytes_ = low_bits_bytes(out_channels_, channels_, width);
  packed_ = Buffer(group_bytes_);
  glz::pack_low_bits(filter->codes.data(), out_channels_, channels_, width, zero_byte(input_type_),
                     packed_.data());
  note_ = std::to_string(width) + "-bit weights, packed";
  low_bits_ = true;
  return true;
}

ConvGeometry ConvCore::group_geometry(ConvGeometry geometry) const {
  geometry.kh = kh_;
  geometry.kw = kw_;
  geometry.channels = channels_;
  geometry.stride_c = channel_stride(channels_ * groups_);
  geometry.out_channels = out_channels_;
  geometry.zero = zero_byte(input_type_);
  return geometry;
}

void check_bias(const ModelTensor* bias, int64_t out, const std::string& label) {
  GLZ_CHECK(
      bias == nullptr || bias->shape == Shape{out}, kShape,
      label << ": bias of shape " << to_string(bias->shape) << " must have shape (" << out << ",)");
}

void ConvCore::prepare(Filter filter, const ConvGeometry& window, const ModelTensor* bias,
                       const Tail& tail, const TensorType& x, const KernelTable& table) {
  tail_ = tail;
  integer_ = filter.quantized();
  dynamic_ = dynamic_ && integer_;
  input_type_ = integer_ ? element_type(x.dtype) : ElementType::kF32;
  kh_ = filter.kh;
  kw_ = filter.kw;
  depthwise_ = filter.groups > 1 && filter.channels == 1 && filter.out == filter.groups;
  if (filter.groups > 1) gather(&filter);
  width_ = depthwise_ ? 1 : narrow_groups(&filter, table.grouped_s8.widest);
  if (width_ == 0) align_groups(&filter, table.conv_s8.panel >= 64 ? 16 : 8);
  groups_ = width_ > 0 ? 1 : filter.groups;
  channels_ = width_ > 0 ? filter.out : filter.channels;
  out_channels_ = filter.out / groups_;

  bias_ = channel_constants(filter.out);
  const std::vector<float> offsets = bias ? real_values(*bias) : std::vector<float>(filter.out);
  for (int64_t o = 0; o < filter.out; ++o) bias_.as<float>()[o] = offsets[o] / tail.out_scale();

  if (integer_) {
    multiplier_ = channel_constants(filter.out);
    for (int64_t o = 0; o < filter.out; ++o) {
      multiplier_.as<float>()[o] = static_cast<float>(
          static_cast<double>(x.scale) * filter.scale[o] / static_cast<double>(tail.out_scale()));
    }
    if (dynamic_) weight_scale_ = filter.scale;
    const int8_t* codes = filter.codes.data();
    if (depthwise_) return pack_whole(table.depthwise_s8, window, filter, codes);
    if (width_ > 0) return pack_narrow(table.grouped_s8, window, codes);
    if (groups_ > 1) return pack_whole(table.conv_s8, window, filter, codes);
    const bool first = sparse_policy() != SparsePolicy::kAlways;
    if (first && pack_low_bits(table.dense_low_bits, window, &filter, true)) return;
    if (pack_sparse<int8_t>(table.sparse_s8, table.bitmap_s8, window, filter)) return;
    if (pack_low_bits(table.dense_low_bits, window, &filter, false)) return;
    return pack_rows<int8_t>(table.conv_s8, window, filter);
  }
  if (tail.out.wanted()) {  // float kernels have no multiplier: the weights take it
    filter.factor = tail.inverse_scale();
    for (float& value : filter.values) value *= filter.factor;
  }
  if (depthwise_) {
    pack_whole(table.depthwise_f32, window, filter, filter.values.data());
  } else if (groups_ > 1) {
    pack_whole(table.conv_f32, window, filter, filter.values.data());
  } else {
    const bool sparse = pack_sparse<float>(table.sparse_f32, table.bitmap_s8, window, filter);
    if (!sparse) pack_rows<float>(table.conv_f32, window, filter);
  }
}

TaskCost ConvCore::sparse_task_cost(const ConvGeometry& g, int64_t panel, bool bitmap) const {
  const SparseSize size = sparse_.size();
  const SparseForm form = sparse_form_of(g);
  return [=](int64_t tiles, int64_t panels) {
    ConvGeometry part = g;
    part.n = part.oh = 1;
    part.ow = std::min(tiles * kPixelAlign, g.rows());
    part.out_channels = std::min(panels * panel, g.out_channels);
    const double share = static_cast<double>(part.out_channels) / g.out_channels;
    if (bitmap) return bitmap_nanoseconds(part, share * static_cast<double>(size.weights));
    return sparse_nanoseconds(part, integer_, share * static_cast<double>(size.words), form) +
           sparse_read_nanoseconds(part, integer_);
  };
}

ConvInput ConvCore::input(OpPlan& plan, size_t i, Layout layout, bool compact) const {
  if (!dynamic_) return {plan.input_as(i, layout, input_type(), compact), {}};
  const View x = plan.input_as(i, layout, ElementType::kF32, compact);
  const DynamicCodes dynamic = add_dynamic_quantize(plan, x);
  return {dynamic.codes, add_multipliers(plan, dynamic.scale, weight_scale_, tail_.out_scale())};
}

void ConvCore::plan(OpPlan& plan, ConvGeometry geometry, const ConvInput& input,
                    const View* residual, float residual_scale, const View& out) const {
  const View& x = input.view;
  const ConvGeometry g = [&] {
    ConvGeometry filled = group_geometry(geometry);
    filled.stride_c = x.layout == Layout::kPlanes ? channel_stride(x.c) : x.stride;
    return filled;
  }();
  const PlanePitches pitch = {pitch_of(x), pitch_of(out), residual ? pitch_of(*residual) : 0};
  SparseChoice choice = choose(g);
  const bool sparse = choice.sparse || pitch.input != 0 || pitch.output != 0 || pitch.residual != 0;
  const KernelTable& table = plan.table();
  const int64_t lanes = integer_ ? table.sparse_s8.lanes : table.sparse_f32.lanes;
  const bool bitmap = sparse && choice.bitmap;
  const SparseForm form = bitmap ? kBitmapForm : sparse_form(g, lanes);
  const Buffer& packed = sparse ? sparse_.in_form(g, integer_, form) : dense_weights(table);
  const size_t group_bytes = sparse ? packed.size() : group_bytes_;

  Epilogue epilogue = make_epilogue(tail_, tail_.out_scale());
  epilogue.multiplier = integer_ ? multiplier_.as<float>() : nullptr;
  epilogue.bias = bias_.as<float>();
  epilogue.output_type = out.type;
  epilogue.output_stride = out.stride;
  if (residual != nullptr) {
    epilogue.residual_type = residual->type;
    epilogue.residual_stride = residual->stride;
    epilogue.residual_multiplier =
        holds_codes(residual->type)
            ? static_cast<float>(static_cast<double>(residual_scale) / tail_.out_scale())
            : tail_.inverse_scale();
  }
  const int64_t macs =
      g.rows() * g.out_channels * groups_ * g.kh * g.kw * (width_ > 0 ? width_ : g.channels);
  const int64_t traffic = x.bytes() + out.bytes() + static_cast<int64_t>(packed.size()) +
                          (residual ? residual->bytes() : 0);
  const double nanoseconds = std::max(
      macs / ((integer_ ? kS8MacsPerNanosecond : kF32MacsPerNanosecond) / (depthwise_   ? 8
                                                                           : width_ > 0 ? 2
                                                                                        : 1)),
      traffic / kBytesPerNanosecond);

  const auto finish = [&](auto step, const char* kernel) {
    step->geometry = g;
    step->epilogue = epilogue;
    step->input = x.ref;
    step->multiplier = input.multiplier;
    step->output = out.ref;
    if (residual != nullptr) step->residual = residual->ref;
    step->packed = packed.as<char>();
    step->kernel = kernel;
    step->note = choice.why;
    step->macs = macs;
    step->bytes = traffic;
    step->signature = step_signature(kernel, g, groups_, epilogue, plan.threads());
    if (sparse) step->signature += " " + std::to_string(sparse_.size().words);
    plan.add(std::move(step));
  };
  const auto depthwise = [&](auto step, const auto& kernel, const char* name) {
    step->kernel_run = kernel.run;
    step->width = width_;
    step->tasks = row_tasks(g.n * g.oh, plan.threads(), nanoseconds);
    step->cuts = candidate_cuts(step->tasks, g.n * g.oh, plan.threads());
    finish(std::move(step), name);
  };
  const auto grouped = [&](auto step, const auto& kernel, const char* name) {
    step->kernel_run = kernel.run;
    step->pitch = pitch;
    step->group_bytes = group_bytes;
    step->tile_rows = kernel.tile_rows;
    const double row_bytes = static_cast<double>(x.bytes()) / std::max<int64_t>(x.rows(), 1);
    step->groups = groups_;
    const int64_t tiles = ceil_div(g.rows(), kernel.tile_rows);
    const int64_t panels = ceil_div(g.out_channels, kernel.panel);
    const int threads = groups_ == 1 ? plan.threads() : 1;
    const GridCost cost = {nanoseconds, row_bytes * kernel.tile_rows,
                           static_cast<double>(group_bytes) * kernel.panel / g.out_channels};
    step->grids =
        sparse ? candidate_grids(tiles, panels, threads, sparse_task_cost(g, kernel.panel, bitmap))
               : candidate_grids(tiles, panels, threads, cost);
    step->choose(0);
    step->workspace = kernel.workspace_bytes(g);
    finish(std::move(step), name);
  };

  if (integer_ && depthwise_) {
    depthwise(std::make_unique<DepthwiseStep<DepthwiseS8Args, DepthwiseS8Kernel, uint8_t>>(),
              table.depthwise_s8, "depthwise_s8");
  } else if (integer_ && width_ > 0) {
    depthwise(std::make_unique<DepthwiseStep<GroupedS8Args, GroupedS8Kernel, uint8_t>>(),
              table.grouped_s8, "grouped_s8");
  } else if (bitmap) {
    grouped(std::make_unique<ConvStep<ConvS8Args, BitmapS8Kernel, uint8_t>>(), table.bitmap_s8,
            "sparse_bitmap_s8");
  } else if (integer_ && sparse) {
    grouped(std::make_unique<ConvStep<SparseS8Args, SparseS8Kernel, uint8_t>>(), table.sparse_s8,
            "sparse_s8");
  } else if (low_bits_) {
    grouped(std::make_unique<ConvStep<ConvS8Args, DenseLowBitsKernel, uint8_t>>(),
            table.dense_low_bits, "dense_low_bits");
  } else if (integer_) {
    grouped(std::make_unique<ConvStep<ConvS8Args, ConvS8Kernel, uint8_t>>(), table.conv_s8,
            "conv_s8");
  } else if (depthwise_) {
    depthwise(std::make_unique<DepthwiseStep<DepthwiseF32Args, DepthwiseF32Kernel, float>>(),
              table.depthwise_f32, "depthwise_f32");
  } else if (sparse) {
    grouped(std::make_unique<ConvStep<SparseF32Args, SparseF32Kernel, float>>(), table.sparse_f32,
            "sparse_f32");
  } else {
    grouped(std::make_unique<ConvStep<ConvF32Args, ConvF32Kernel, float>>(), table.conv_f32,
            "conv_f32");
  }
}

}  // namespace glz
