// gluonzip._core.testing: kernels by themselves, for tests and benchmarks only.
// Buffers are NumPy arrays laid out as layout.h says; the caller pads their ends.
#include <ctime>
#include <map>

#include "../base/buffer.h"
#include "../base/check.h"
#include "../kernels/table.h"
#include "testing.h"

namespace py = pybind11;
using namespace glz;

ElementType glz_element_type(const std::string& name) {
  if (name == "f32") return ElementType::kF32;
  if (name == "s8") return ElementType::kS8;
  if (name == "u8") return ElementType::kU8;
  GLZ_CHECK(name == "s32", kConfig, "element type '" << name << "' is none of f32, s8, u8, s32");
  return ElementType::kS32;
}

namespace {

// The array's memory, which must stay valid; None is null.
template <typename T = void>
T* memory(const py::object& array) {
  if (array.is_none()) return nullptr;
  return static_cast<T*>(const_cast<void*>(py::cast<py::array>(array).data()));
}

template <typename T>
T get(const py::dict& d, const char* key, T otherwise) {
  return d.contains(key) ? d[key].cast<T>() : otherwise;
}

ConvGeometry geometry(const py::dict& d) {
  ConvGeometry g = {};
  const auto number = [&](const char* key) { return d[key].cast<int64_t>(); };
  g.n = number("n"), g.h = number("h"), g.w = number("w");
  g.channels = number("channels"), g.stride_c = number("stride_c");
  g.kh = number("kh"), g.kw = number("kw"), g.sh = number("sh"), g.sw = number("sw");
  g.pad_top = number("pad_top"), g.pad_left = number("pad_left");
  g.dh = number("dh"), g.dw = number("dw"), g.oh = number("oh"), g.ow = number("ow");
  g.out_channels = number("out_channels");
  g.zero = get<int64_t>(d, "zero", zero_byte(ElementType::kS8));
  return g;
}

Epilogue epilogue(const py::dict& d) {
  Epilogue e;
  const auto array = [&](const char* key) { return get<py::object>(d, key, py::none()); };
  e.multiplier = memory<float>(array("multiplier"));
  e.bias = memory<float>(array("bias"));
  e.residual = memory(array("residual"));
  e.residual_type = glz_element_type(get<std::string>(d, "residual_type", "f32"));
  e.residual_stride = get<int64_t>(d, "residual_stride", 0);
  e.residual_multiplier = get<float>(d, "residual_multiplier", 1.0f);
  e.leaky = get<bool>(d, "leaky", false);
  e.slope = get<float>(d, "slope", 0.0f);
  e.lo = get<float>(d, "lo", e.lo);
  e.hi = get<float>(d, "hi", e.hi);
  e.output = memory(array("output"));
  e.output_type = glz_element_type(get<std::string>(d, "output_type", "f32"));
  e.output_stride = get<int64_t>(d, "output_stride", 0);
  return e;
}

// CPU seconds of this thread per call: other processes do not count.
template <typename Fn>
double seconds_per_call(int64_t repeat, Fn fn) {
  const auto now = [] {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  fn();
  const double begin = now();
  for (int64_t i = 0; i < repeat; ++i) fn();
  return repeat > 0 ? (now() - begin) / static_cast<double>(repeat) : 0.0;
}

template <typename Args, typename Input, typename Weight, typename Kernel>
double depthwise(const Kernel& kernel, const ConvGeometry& g, const py::array& x,
                 const py::array& weights, const py::dict& tail, int64_t repeat) {
  Buffer packed(kernel.packed_bytes(g));
  kernel.pack(g, static_cast<const Weight*>(weights.data()), packed.data());
  const Args args = {g, static_cast<const Input*>(x.data()), packed.data(), epilogue(tail)};
  return seconds_per_call(repeat, [&] { kernel.run(args, 0, g.n * g.oh); });
}

template <typename Args, typename Input, typename Weight, typename Kernel>
double conv(const Kernel& kernel, const ConvGeometry& g, const py::array& x,
            const py::array& weights, const py::dict& tail, int64_t repeat) {
  Buffer packed(kernel.packed_bytes(g)), workspace(kernel.workspace_bytes(g));
  kernel.pack(g, static_cast<const Weight*>(weights.data()), packed.data());
  const Args args = {g, static_cast<const Input*>(x.data()), packed.data(), epilogue(tail),
                     workspace.data()};
  const int64_t panels = ceil_div(g.out_channels, kernel.panel);
  return seconds_per_call(repeat, [&] { kernel.run(args, 0, g.rows(), 0, panels); });
}

double grouped(const GroupedS8Kernel& kernel, const ConvGeometry& g, const py::array& x,
               const py::array& weights, const py::dict& tail, int64_t repeat) {
  const int64_t width = weights.shape(3);
  GLZ_CHECK(is_narrow_group(width), kConfig, "groups of " << width << " channels");
  Buffer packed(kernel.packed_bytes(g, width));
  kernel.pack(g, width, static_cast<const int8_t*>(weights.data()), packed.data());
  const GroupedS8Args args = {g, static_cast<const uint8_t*>(x.data()), packed.data(),
                              epilogue(tail), width};
  return seconds_per_call(repeat, [&] { kernel.run(args, 0, g.n * g.oh); });
}

// kernel: conv_s8, conv_f32, depthwise_s8, depthwise_f32 or grouped_s8; weights:
// [O][kh][kw][channels of a group], or [channels][kh][kw] if depthwise. Returns seconds per call
// (after a first) if repeat > 0.
double run_conv(const std::string& name, const std::string& isa, const py::dict& shape,
                const py::array& x, const py::array& weights, const py::dict& tail,
                int64_t repeat) {
  const KernelTable& table = kernel_table(resolve_isa(isa));
  const ConvGeometry g = geometry(shape);
  if (name == "conv_s8") {
    return conv<ConvS8Args, uint8_t, int8_t>(table.conv_s8, g, x, weights, tail, repeat);
  }
  if (name == "conv_f32") {
    return conv<ConvF32Args, float, float>(table.conv_f32, g, x, weights, tail, repeat);
  }
  if (name == "depthwise_s8") {
    return depthwise<DepthwiseS8Args, uint8_t, int8_t>(table.depthwise_s8, g, x, weights, tail,
                                                       repeat);
  }
  if (name == "grouped_s8") return grouped(table.grouped_s8, g, x, weights, tail, repeat);
  GLZ_CHECK(name == "depthwise_f32", kConfig, "no kernel '" << name << "'");
  return depthwise<DepthwiseF32Args, float, float>(table.depthwise_f32, g, x, weights, tail,
                                                   repeat);
}

double run_pool(const std::string& name, const std::string& isa, const py::dict& shape,
                const py::array& x, py::array out, int64_t output_stride, int64_t pad_bottom,
                int64_t pad_right, bool count_pad, float factor, const std::string& output_type,
                int64_t repeat) {
  const PoolKernel& pool = kernel_table(resolve_isa(isa)).pool;
  const std::map<std::string, decltype(pool.max_u8)> kernels = {{"max_u8", pool.max_u8},
                                                                {"max_f32", pool.max_f32},
                                                                {"avg_u8", pool.avg_u8},
                                                                {"avg_f32", pool.avg_f32}};
  const auto found = kernels.find(name);
  GLZ_CHECK(found != kernels.end(), kConfig, "no kernel '" << name << "'");
  const ConvGeometry g = geometry(shape);
  const PoolArgs args = {g,
                         pad_bottom,
                         pad_right,
                         count_pad,
                         x.data(),
                         out.mutable_data(),
                         output_stride,
                         factor,
                         glz_element_type(output_type)};
  return seconds_per_call(repeat, [&] { found->second(args, 0, g.n * g.oh); });
}

}  // namespace

void bind_testing(py::module_& core) {
  py::module_ m =
      core.def_submodule("testing", "Kernels by themselves; not part of the interface.");
  m.def("run_conv", run_conv, py::arg("kernel"), py::arg("isa"), py::arg("geometry"), py::arg("x"),
        py::arg("weights"), py::arg("epilogue"), py::arg("repeat") = 0);
  m.def("run_pool", run_pool, py::arg("kernel"), py::arg("isa"), py::arg("geometry"), py::arg("x"),
        py::arg("out"), py::arg("output_stride"), py::arg("pad_bottom"), py::arg("pad_right"),
        py::arg("count_pad") = true, py::arg("factor") = 1.0f, py::arg("output_type") = "f32",
        py::arg("repeat") = 0);
  // As if the machine had no instruction set but the reference.
  m.def("find_isa_on_bare_machine",
        [](const std::string& name) { return isa_name(find_isa(name, "", {Isa::kReference})); });
  bind_testing_eltwise(m);
  bind_testing_threads(m);
}
