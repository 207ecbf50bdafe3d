// Single kernels, as the engine calls them: for tests and for scripts/bench_kernels.py.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

#include "../base/buffer.h"
#include "../base/check.h"
#include "../base/thread_pool.h"
#include "../kernels/sparse_conv/packer.h"
#include "../kernels/table.h"
#include "../ops/sparse_choice.h"
#include "testing.h"

namespace py = pybind11;
using namespace glz;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;
using Floats = std::optional<Array<float>>;

double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One thread is timed by its own clock, which other processes do not disturb.
template <typename Work>
double seconds(bool alone, const Work& work) {
  const double start = alone ? thread_seconds() : wall_seconds();
  work();
  return (alone ? thread_seconds() : wall_seconds()) - start;
}

ConvGeometry to_geometry(const std::map<std::string, int64_t>& values) {
  auto get = [&](const char* name) {
    const auto it = values.find(name);
    GLZ_CHECK(it != values.end(), kConfig, "geometry lacks " << name);
    return it->second;
  };
  return {get("n"),
          get("h"),
          get("w"),
          get("channels"),
          get("stride_c"),
          get("kh"),
          get("kw"),
          get("sh"),
          get("sw"),
          get("pad_top"),
          get("pad_left"),
          get("dh"),
          get("dw"),
          get("oh"),
          get("ow"),
          get("out_channels"),
          values.count("zero") != 0 ? values.at("zero") : zero_byte(ElementType::kS8)};
}

struct S8 {
  using Input = uint8_t;
  using Weight = int8_t;
  using Args = ConvS8Args;
  using Kernel = ConvS8Kernel;
  static constexpr ElementType kOutput = ElementType::kS8;
  static const Kernel& kernel(Isa isa) { return kernel_table(isa).conv_s8; }
  static Buffer pack(const Kernel& k, const ConvGeometry& g, const Weight* weights) {
    Buffer packed(k.packed_bytes(g));
    k.pack(g, weights, packed.data());
    return packed;
  }
  static Buffer for_planes(const ConvGeometry&, const Buffer&) { return {}; }
};
struct SparseS8 : S8 {
  using Args = SparseS8Args;
  using Kernel = SparseS8Kernel;
  static const Kernel& kernel(Isa isa) { return kernel_table(isa).sparse_s8; }
  static Buffer pack(const Kernel& k, const ConvGeometry& g, const Weight* weights) {
    return sparse_pack(g, weights, sparse_form(g, k.lanes));
  }
  // Weights packed for single pixels know no planes: those to take instead, if any.
  static Buffer for_planes(const ConvGeometry& g, const Buffer& packed) {
    if (!SparseForm{sparse_header(packed.data()).form}.one_pixel()) return {};
    return sparse_repack<Weight>(g, packed, {2});
  }
};
struct BitmapS8 : S8 {
  using Kernel = BitmapS8Kernel;
  static const Kernel& kernel(Isa isa) { return kernel_table(isa).bitmap_s8; }
  static Buffer pack(const Kernel&, const ConvGeometry& g, const Weight* weights) {
    return sparse_pack(g, weights, kBitmapForm);
  }
};
struct F32 {
  using Input = float;
  using Weight = float;
  using Args = ConvF32Args;
  using Kernel = ConvF32Kernel;
  static constexpr ElementType kOutput = ElementType::kF32;
  static const Kernel& kernel(Isa isa) { return kernel_table(isa).conv_f32; }
  static Buffer pack(const Kernel& k, const ConvGeometry& g, const Weight* weights) {
    Buffer packed(k.packed_bytes(g));
    k.pack(g, weights, packed.data());
    return packed;
  }
  static Buffer for_planes(const ConvGeometry&, const Buffer&) { return {}; }
};
struct SparseF32 : F32 {
  using Args = SparseF32Args;
  using Kernel = SparseF32Kernel;
  static const Kernel& kernel(Isa isa) { return kernel_table(isa).sparse_f32; }
  static Buffer pack(const Kernel& k, const ConvGeometry& g, const Weight* weights) {
    return sparse_pack(g, weights, sparse_form(g, k.lanes));
  }
  // Weights packed for single pixels know no planes: those to take instead, if any.
  static Buffer for_planes(const ConvGeometry& g, const Buffer& packed) {
    if (!SparseForm{sparse_header(packed.data()).form}.one_pixel()) return {};
    return sparse_repack<Weight>(g, packed, {2});
  }
};

// Which tensors are in planes, where the kernel can read and write them.
template <typename Args>
void set_pitches(Args*, const PlanePitches& pitch) {
  GLZ_CHECK(pitch.input == 0 && pitch.output == 0, kConfig, "dense kernels know no planes");
}
void set_pitches(SparseS8Args* args, const PlanePitches& pitch) { args->pitch = pitch; }
void set_pitches(SparseF32Args* args, const PlanePitches& pitch) { args->pitch = pitch; }

// Elements of `channels` planes.
template <typename Input>
int64_t plane_elements(int64_t channels, int64_t pitch) {
  constexpr int64_t kInWord = 4 / sizeof(Input);
  return ceil_div(channels, kInWord) * pitch * kInWord;
}

size_t element_bytes(ElementType type) { return holds_codes(type) ? 1 : 4; }

// A convolution with its weights packed, `copies` times over so that they can be cold.
template <typename Type>
class PackedConv {
 public:
  using Input = typename Type::Input;
  using Weight = typename Type::Weight;

  PackedConv(const std::map<std::string, int64_t>& geometry, const Array<Weight>& weights,
             const std::string& isa, int64_t copies)
      : g_(to_geometry(geometry)), isa_(resolve_isa(isa)), kernel_(Type::kernel(isa_)) {
    const int64_t wanted = g_.out_channels * g_.kh * g_.kw * g_.channels;
    GLZ_CHECK(weights.size() == wanted, kShape,
              "weights have " << weights.size() << " elements, the geometry " << wanted);
    for (int64_t i = 0; i < copies; ++i) {
      packed_.push_back(Type::pack(kernel_, g_, weights.data()));
    }
  }

  int64_t panel() const { return kernel_.panel; }
  int64_t tile_rows() const { return kernel_.tile_rows; }
  int64_t packed_bytes() const { return static_cast<int64_t>(packed_.front().size()); }
  int64_t panels() const { return ceil_div(g_.out_channels, kernel_.panel); }

  // Runs in four parts, cut at a tile's row and at a panel, and checks the workspace's end.
  py::array run(const Array<Input>& input, const std::string& output, int64_t output_stride,
                const Floats& multiplier, const Floats& bias,
                const std::optional<py::array>& residual, const std::string& residual_type,
                float residual_multiplier, std::optional<float> slope, float lo, float hi,
                int64_t row_cut, int64_t panel_cut, int64_t input_pitch, int64_t output_pitch,
                int64_t residual_pitch) {
    const int64_t wanted = input_pitch != 0 ? plane_elements<Input>(g_.channels, input_pitch)
                                            : g_.n * g_.h * g_.w * g_.stride_c;
    GLZ_CHECK(input.size() == wanted, kShape, "input has " << input.size() << " elements");
    const int64_t count = output_pitch != 0 ? plane_elements<Input>(g_.out_channels, output_pitch)
                                            : g_.rows() * output_stride;
    const Buffer pixels = copy(input.data(), input.nbytes());
    const Buffer m = channels(multiplier), b = channels(bias);
    Buffer extra;
    Epilogue e;
    e.multiplier = multiplier ? m.as<float>() : nullptr;
    e.bias = bias ? b.as<float>() : nullptr;
    if (residual) {
      const int64_t size =
          residual_pitch != 0 ? plane_elements<Input>(g_.out_channels, residual_pitch) : count;
      GLZ_CHECK(residual->size() == size, kShape,
                "residual has " << residual->size() << " elements");
      extra = copy(residual->data(), residual->nbytes());
      e.residual = extra.data();
      e.residual_type = glz_element_type(residual_type);
      GLZ_CHECK(static_cast<size_t>(residual->itemsize()) == element_bytes(e.residual_type),
                kConfig, "residual elements have " << residual->itemsize() << " bytes");
      e.residual_stride = output_stride;
      e.residual_multiplier = residual_multiplier;
    }
    e.leaky = slope.has_value();
    e.slope = slope.value_or(0.0f);
    e.lo = lo;
    e.hi = hi;
    e.output_stride = output_stride;
    py::array out = make_output(output, count, &e);
    Buffer aligned;  // planes are at cache lines
    if (output_pitch != 0) {
      aligned = Buffer(out.nbytes());
      e.output = aligned.data();
    }

    constexpr size_t kGuard = 64;
    const size_t workspace_bytes = kernel_.workspace_bytes(g_);
    Buffer workspace(workspace_bytes + kGuard);
    std::memset(workspace.as<char>() + workspace_bytes, 0x5a, kGuard);
    typename Type::Args args{};
    args.geometry = g_;
    args.input = pixels.as<Input>();
    args.packed = packed_.front().data();
    args.epilogue = e;
    args.workspace = workspace.data();
    const PlanePitches pitch = {input_pitch, output_pitch,
                                residual_pitch != 0 ? residual_pitch : output_pitch};
    set_pitches(&args, pitch);
    Buffer repacked;
    if (pitch.input != 0 || pitch.output != 0 || pitch.residual != 0) {
      repacked = Type::for_planes(g_, packed_.front());
      if (repacked.size() > 0) args.packed = repacked.data();
    }
    const int64_t rows = g_.rows(), cut = std::min(row_cut * kernel_.tile_rows, rows);
    const int64_t panel = std::min(panel_cut, panels());
    kernel_.run(args, cut, rows, panel, panels());
    kernel_.run(args, 0, cut, 0, panel);
    kernel_.run(args, 0, cut, panel, panels());
    kernel_.run(args, cut, rows, 0, panel);
    for (size_t i = 0; i < kGuard; ++i) {
      GLZ_CHECK(workspace.as<char>()[workspace_bytes + i] == 0x5a, kShape,
                "the kernel wrote past its workspace");
    }
    if (output_pitch != 0) std::memcpy(out.mutable_data(), aligned.data(), out.nbytes());
    return out;
  }

  // Seconds of each of `calls` calls with an activation's epilogue: relu, and a residual if wanted.
  std::vector<double> time(int64_t calls, int threads, bool with_residual, bool planes) {
    const int64_t input_pitch = planes ? plane_pitch(g_.n * g_.h * g_.w) : 0;
    const int64_t output_pitch = planes ? plane_pitch(g_.rows()) : 0;
    Buffer pixels((planes ? plane_elements<Input>(g_.channels, input_pitch)
                          : g_.n * g_.h * g_.w * g_.stride_c) *
                  sizeof(Input));
    std::fill_n(pixels.as<Input>(), pixels.size() / sizeof(Input), Input{1});
    const int64_t count = (planes ? plane_elements<Input>(g_.out_channels, output_pitch)
                                  : g_.rows() * g_.out_channels) *
                          sizeof(Input);
    Buffer m(round_up(g_.out_channels, 64) * 4), b(m.size()), out(count), residual(count);
    std::fill_n(m.as<float>(), m.size() / 4, 1e-3f);
    std::fill_n(b.as<float>(), b.size() / 4, 1.0f);
    std::memset(residual.data(), 1, residual.size());
    Epilogue e;
    e.multiplier = Type::kOutput == ElementType::kS8 ? m.as<float>() : nullptr;
    e.bias = b.as<float>();
    e.lo = 0.0f;
    e.output = out.data();
    e.output_type = Type::kOutput;
    e.output_stride = e.residual_stride = g_.out_channels;
    if (with_residual) {
      e.residual = residual.data();
      e.residual_type = Type::kOutput;
    }
    ThreadPool pool(threads);
    const int64_t workspace_bytes = round_up(kernel_.workspace_bytes(g_), 64);
    Buffer workspaces(workspace_bytes * pool.size());
    typename Type::Args args{};
    args.geometry = g_;
    args.input = pixels.as<Input>();
    args.epilogue = e;
    set_pitches(&args, {input_pitch, output_pitch, with_residual ? output_pitch : 0});
    std::vector<double> result;
    py::gil_scoped_release release;
    for (int64_t call = 0; call < calls; ++call) {
      args.packed = packed_[call % packed_.size()].data();
      result.push_back(seconds(pool.size() == 1, [&] { run_parallel(pool, args, workspaces); }));
    }
    return result;
  }

 private:
  void run_parallel(ThreadPool& pool, const typename Type::Args& args, Buffer& workspaces) {
    const int64_t stride = static_cast<int64_t>(workspaces.size()) / pool.size();
    const int64_t tiles = ceil_div(g_.rows(), kernel_.tile_rows), parts = pool.size();
    const bool by_rows = tiles >= 4 * parts;
    pool.parallel_for(parts, [&](int64_t task, int thread) {
      typename Type::Args mine = args;
      mine.workspace = workspaces.as<char>() + stride * thread;
      const int64_t of = by_rows ? tiles : panels();
      const int64_t begin = of * task / parts, end = of * (task + 1) / parts;
      if (by_rows) {
        kernel_.run(mine, begin * kernel_.tile_rows, std::min(end * kernel_.tile_rows, g_.rows()),
                    0, panels());
      } else {
        kernel_.run(mine, 0, g_.rows(), begin, end);
      }
    });
  }

  static Buffer copy(const void* from, size_t bytes) {
    Buffer buffer(bytes);
    std::memcpy(buffer.data(), from, bytes);
    return buffer;
  }

  Buffer channels(const Floats& values) const {
    Buffer buffer(round_up(g_.out_channels, 64) * sizeof(float));
    std::fill_n(buffer.as<float>(), buffer.size() / sizeof(float), NAN);  // never used
    if (values) {
      GLZ_CHECK(values->size() == g_.out_channels, kShape, "one factor a channel");
      std::copy_n(values->data(), values->size(), buffer.as<float>());
    }
    return buffer;
  }

  static py::array make_output(const std::string& type, int64_t count, Epilogue* e) {
    e->output_type = glz_element_type(type);
    py::array out = holds_codes(e->output_type)           ? py::array(py::array_t<uint8_t>(count))
                    : e->output_type == ElementType::kS32 ? py::array(py::array_t<int32_t>(count))
                                                          : py::array(py::array_t<float>(count));
    e->output = out.mutable_data();
    std::memset(e->output, 0xab, static_cast<size_t>(count) * element_bytes(e->output_type));
    return out;
  }

  ConvGeometry g_;
  Isa isa_;
  const typename Type::Kernel& kernel_;
  std::vector<Buffer> packed_;
};

template <typename Type>
void bind_packed(py::module_& m, const char* name) {
  using Conv = PackedConv<Type>;
  py::class_<Conv>(m, name)
      .def(py::init<const std::map<std::string, int64_t>&, const Array<typename Type::Weight>&,
                    const std::string&, int64_t>(),
           py::arg("geometry"), py::arg("weights").noconvert(), py::arg("isa") = "",
           py::arg("copies") = 1)
      .def_property_readonly("panel", &Conv::panel)
      .def_property_readonly("panels", &Conv::panels)
      .def_property_readonly("tile_rows", &Conv::tile_rows)
      .def_property_readonly("packed_bytes", &Conv::packed_bytes)
      .def("run", &Conv::run, py::arg("input").noconvert(), py::arg("output"),
           py::arg("output_stride"), py::arg("multiplier") = py::none(),
           py::arg("bias") = py::none(), py::arg("residual") = py::none(),
           py::arg("residual_type") = "s8", py::arg("residual_multiplier") = 1.0f,
           py::arg("slope") = py::none(), py::arg("lo") = -INFINITY, py::arg("hi") = INFINITY,
           py::arg("row_cut") = 0, py::arg("panel_cut") = 0, py::arg("input_pitch") = 0,
           py::arg("output_pitch") = 0, py::arg("residual_pitch") = 0)
      .def("time", &Conv::time, py::arg("calls"), py::arg("threads") = 1,
           py::arg("residual") = false, py::arg("planes") = false);
}

// Multiply-accumulates a second of `threads` threads that do nothing else; 0: not known.
double mac_limit(int64_t (*limit)(int64_t), int threads) {
  if (limit == nullptr) return 0.0;
  ThreadPool pool(threads);
  constexpr int64_t kRounds = 2'000'000;
  double best = 0.0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    int64_t macs = 0;
    const double took = seconds(pool.size() == 1, [&] {
      pool.parallel_for(pool.size(), [&](int64_t task, int) {
        const int64_t done = limit(kRounds);
        if (task == 0) macs = done;
      });
    });
    best = std::max(best, static_cast<double>(macs) * pool.size() / took);
  }
  return best;
}

uint64_t sum_words(const uint64_t* words, int64_t count) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    __builtin_prefetch(words + i + 512);
    for (int k = 0; k < 8; ++k) sum[k] += words[i + k];
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

// Bytes a second of reading far more than any cache holds.
double read_limit(int threads) {
  ThreadPool pool(threads);
  Buffer memory(int64_t{256} << 20);
  std::memset(memory.data(), 1, memory.size());
  const int64_t words = static_cast<int64_t>(memory.size()) / 8 / pool.size();
  double best = 0.0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::vector<uint64_t> sums(pool.size());
    const double took = seconds(pool.size() == 1, [&] {
      pool.parallel_for(pool.size(), [&](int64_t task, int) {
        sums[task] = sum_words(memory.as<uint64_t>() + words * task, words);
      });
    });
    GLZ_CHECK(sums[0] != 0, kData, "memory reads as zero");
    best = std::max(best, static_cast<double>(memory.size()) / took);
  }
  return best;
}

}  // namespace

void bind_costs(py::module_& m) {
  m.def("sparse_costs", &sparse_costs, py::arg("integer"),
        "Nanoseconds of each cost by which layers are run dense or sparse.");
  m.def("set_sparse_costs", &set_sparse_costs, py::arg("integer"), py::arg("costs"));
  m.def(
      "sparse_counts",
      [](const std::map<std::string, int64_t>& geometry, bool integer, int64_t words) {
        const ConvGeometry g = to_geometry(geometry);
        return py::make_tuple(
            dense_counts(g, integer),
            sparse_counts(g, integer, static_cast<double>(words), sparse_form_of(g)));
      },
      py::arg("geometry"), py::arg("integer"), py::arg("words"),
      "How often each cost occurs, dense and sparse, in a layer with so many words of weights.");
  m.def(
      "bitmap_counts",
      [](const std::map<std::string, int64_t>& geometry, int64_t weights) {
        return bitmap_counts(to_geometry(geometry), static_cast<double>(weights));
      },
      py::arg("geometry"), py::arg("weights"),
      "The same of a bitmap, in a product of one row with so many int8 weights.");
  m.def(
      "has_bitmap",
      [](const std::string& isa) { return kernel_table(resolve_isa(isa)).bitmap_s8.fast; },
      py::arg("isa"), "Whether an instruction set has a kernel for bitmaps.");
}

void bind_kernels(py::module_& m) {
  bind_costs(m);
  bind_packed<S8>(m, "PackedConvS8");
  bind_packed<F32>(m, "PackedConvF32");
  bind_packed<SparseS8>(m, "SparseConvS8");
  bind_packed<SparseF32>(m, "SparseConvF32");
  bind_packed<BitmapS8>(m, "BitmapS8");
  m.def(
      "limits",
      [](const std::string& isa_name, int threads) {
        const KernelTable& table = kernel_table(resolve_isa(isa_name));
        py::gil_scoped_release release;
        return std::map<std::string, double>{{"s8", mac_limit(table.conv_s8.limit, threads)},
                                             {"f32", mac_limit(table.conv_f32.limit, threads)},
                                             {"memory", read_limit(threads)}};
      },
      py::arg("isa") = "", py::arg("threads") = 1,
      "Measured limits: multiply-accumulates a second in int8 and float32, bytes read a second.");
}
