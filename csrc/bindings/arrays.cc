// Raw operators on NumPy arrays: gluonzip.runtime.operators checks types, this file checks shapes.
#include <array>
#include <limits>

#include "dense_product.h"

namespace py = pybind11;
using namespace glz;

namespace {

// 127 * 128 * this still fits an int32 accumulator.
constexpr int64_t kMaxTerms = std::numeric_limits<int32_t>::max() / (127 * 128);
constexpr int64_t kMaxElements = int64_t{1} << 31;

// One channel a group: `weights` is [channels][kh][kw].
template <typename Type>
void run_depthwise(ThreadPool& pool, Isa isa, ConvGeometry g, int64_t channels,
                   const typename Type::Stored* input, const typename Type::Value* weights,
                   typename Type::Result* out) {
  const auto& kernel = Type::depthwise(isa);
  g.channels = g.out_channels = channels;
  Buffer packed(kernel.packed_bytes(g));
  kernel.pack(g, weights, packed.data());
  typename Type::DepthwiseArgs args = {g, input, packed.data(), {}};
  args.epilogue.output = out;
  args.epilogue.output_type = Type::kResult;
  args.epilogue.output_stride = channels;
  const int64_t rows = g.n * g.oh, tasks = std::min<int64_t>(rows, 4 * pool.size());
  pool.parallel_for(tasks, [&](int64_t task, int) {
    kernel.run(args, rows * task / tasks, rows * (task + 1) / tasks);
  });
}

void check_terms(const char* name, int64_t terms) {
  GLZ_CHECK(terms <= kMaxTerms, kUnsupported,
            name << ": a sum of " << terms << " int8 products may not fit int32; at most "
                 << kMaxTerms << " do");
}

// The AVX2 and VNNI kernels lean on |weight| <= 127, as every quantizer here makes them.
void check_weights(const char* name, const int8_t* weights, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    GLZ_CHECK(weights[i] != -128, kData,
              name << ": element " << i << " (row-major) of the weights is -128; int8 weights are "
                   << "symmetric, in [-127, 127]");
  }
}
void check_weights(const char*, const float*, int64_t) {}

// ---- matrix product

template <typename Type>
Array<typename Type::Result> gemm(const char* name, const Array<typename Type::Value>& a,
                                  const Array<typename Type::Value>& b, const std::string& isa_name,
                                  int threads) {
  GLZ_CHECK(a.ndim() == 2 && b.ndim() == 2, kShape,
            name << ": a has " << a.ndim() << " axes and b " << b.ndim() << "; both must have 2");
  const int64_t m = a.shape(0), k = a.shape(1), n = b.shape(0);
  GLZ_CHECK(b.shape(1) == k, kShape,
            name << ": a is (" << m << ", " << k << ") and b (" << n << ", " << b.shape(1)
                 << "); the last axes must be equal (b is transposed)");
  const Isa isa = resolve_isa(isa_name);
  if (Type::kResult == ElementType::kS32) check_terms(name, k);
  check_weights(name, b.data(), b.size());
  Array<typename Type::Result> out({m, n});
  auto* to = out.mutable_data();
  const auto *from = a.data(), *weights = b.data();
  ThreadPool& pool = shared_pool(threads);
  py::gil_scoped_release release;
  if (m == 0 || n == 0 || k == 0) {
    std::fill_n(to, m * n, 0);
    return out;
  }
  const ConvGeometry g = product_geometry(m, n, k);
  const Buffer pixels = to_pixels<Type>(from, m, k, 1);
  PackedGroup<Type>(isa, g, weights).run(pool, g, pixels.as<typename Type::Stored>(), to, n);
  return out;
}

// ---- convolution

using Pair = std::array<int64_t, 2>;
using Quad = std::array<int64_t, 4>;

int64_t output_size(const char* name, const char* axis, int64_t in, int64_t kernel, int64_t stride,
                    int64_t pad, int64_t dilation) {
  const int64_t padded = in + pad, span = (kernel - 1) * dilation + 1;
  GLZ_CHECK(padded >= span, kShape,
            name << ": the kernel spans " << span << " along " << axis << ", the padded input is "
                 << padded);
  return (padded - span) / stride + 1;
}

// Checks everything; geometry of one group.
ConvGeometry geometry(const char* name, const py::array& x, const py::array& w, const Pair& stride,
                      const Quad& pad, const Pair& dilation, int64_t groups) {
  GLZ_CHECK(x.ndim() == 4 && w.ndim() == 4, kShape,
            name << ": x has " << x.ndim() << " axes and w " << w.ndim()
                 << "; x must be (N, C, H, W) and w (O, C / groups, KH, KW)");
  constexpr int64_t kLimit = 1 << 20;
  for (int64_t v : {stride[0], stride[1], dilation[0], dilation[1], groups}) {
    GLZ_CHECK(v >= 1 && v <= kLimit, kConfig,
              name << ": stride, dilation and groups must be in [1, " << kLimit << "], not " << v);
  }
  for (int64_t v : pad) {
    GLZ_CHECK(v >= 0 && v <= kLimit, kConfig,
              name << ": pad must be in [0, " << kLimit << "], not " << v);
  }
  for (int axis = 0; axis < 4; ++axis) {
    GLZ_CHECK(
        w.shape(axis) > 0 && (axis == 0 || x.shape(axis) > 0), kShape,
        name << ": axis " << axis << " of " << (w.shape(axis) > 0 ? "x" : "w") << " is empty");
  }
  GLZ_CHECK(x.shape(1) == w.shape(1) * groups && w.shape(0) % groups == 0, kShape,
            name << ": x has " << x.shape(1) << " channels and w is (" << w.shape(0) << ", "
                 << w.shape(1) << ", ...) with groups = " << groups
                 << "; x must have w.shape[1] * groups channels and groups must divide w.shape[0]");
  ConvGeometry g = {};
  g.n = x.shape(0);
  g.h = x.shape(2);
  g.w = x.shape(3);
  g.channels = w.shape(1);
  g.stride_c = channel_stride(x.shape(1));
  g.kh = w.shape(2);
  g.kw = w.shape(3);
  g.sh = stride[0];
  g.sw = stride[1];
  g.pad_top = pad[0];
  g.pad_left = pad[1];
  g.dh = dilation[0];
  g.dw = dilation[1];
  g.oh = output_size(name, "H", g.h, g.kh, g.sh, pad[0] + pad[2], g.dh);
  g.ow = output_size(name, "W", g.w, g.kw, g.sw, pad[1] + pad[3], g.dw);
  g.out_channels = w.shape(0) / groups;
  int64_t pixels, elements;
  GLZ_CHECK(checked_mul(g.oh, g.ow, &pixels) && checked_mul(pixels, g.n, &pixels) &&
                checked_mul(pixels, w.shape(0), &elements) && elements <= kMaxElements,
            kUnsupported,
            name << ": the output (" << g.n << ", " << w.shape(0) << ", " << g.oh << ", " << g.ow
                 << ") has more than 2^31 elements");
  return g;
}

template <typename Type>
Array<typename Type::Result> conv2d(const char* name, const Array<typename Type::Value>& x,
                                    const Array<typename Type::Value>& w, const Pair& stride,
                                    const Quad& pad, const Pair& dilation, int64_t groups,
                                    const std::string& isa_name, int threads) {
  using Result = typename Type::Result;
  const ConvGeometry g = geometry(name, x, w, stride, pad, dilation, groups);
  const Isa isa = resolve_isa(isa_name);
  if (Type::kResult == ElementType::kS32) check_terms(name, g.kh * g.kw * g.channels);
  check_weights(name, w.data(), w.size());
  const int64_t out_channels = w.shape(0), hw = g.oh * g.ow;
  Array<Result> out({g.n, out_channels, g.oh, g.ow});
  auto* planes = out.mutable_data();
  const auto *from = x.data(), *taps = w.data();
  ThreadPool& pool = shared_pool(threads);
  py::gil_scoped_release release;
  if (g.n == 0) return out;
  const Buffer pixels = to_pixels<Type>(from, g.n, g.channels * groups, g.h * g.w);
  // The table's weights are [O][kh][kw][channels].
  Buffer weights(w.size() * sizeof(typename Type::Value));
  auto* ordered = weights.as<typename Type::Value>();
  const int64_t window = g.kh * g.kw;
  for (int64_t i = 0; i < w.size(); ++i) {
    const int64_t o = i / (g.channels * window), c = i / window % g.channels, tap = i % window;
    ordered[(o * window + tap) * g.channels + c] = taps[i];
  }
  Buffer result(g.rows() * out_channels * sizeof(Result));
  auto* rows = result.template as<Result>();
  const bool depthwise = groups > 1 && g.channels == 1 && g.out_channels == 1;
  if (depthwise) {
    run_depthwise<Type>(pool, isa, g, groups, pixels.as<typename Type::Stored>(), ordered, rows);
  }
  for (int64_t group = 0; group < groups && !depthwise; ++group) {
    const int64_t first = group * g.out_channels;
    const PackedGroup<Type> packed(isa, g, ordered + first * window * g.channels);
    packed.run(pool, g, pixels.as<typename Type::Stored>() + group * g.channels, rows + first,
               out_channels);
  }
  pool.parallel_for(g.n * out_channels, [&](int64_t plane, int) {
    const Result* row = rows + plane / out_channels * hw * out_channels + plane % out_channels;
    for (int64_t i = 0; i < hw; ++i) planes[plane * hw + i] = row[i * out_channels];
  });
  return out;
}

template <typename Type>
void bind_dense(py::module_& m, const char* gemm_name, const char* conv_name) {
  using Values = Array<typename Type::Value>;
  m.def(
      gemm_name,
      [gemm_name](const Values& a, const Values& b, const std::string& isa, int threads) {
        return gemm<Type>(gemm_name, a, b, isa, threads);
      },
      py::arg("a").noconvert(), py::arg("b").noconvert(), py::arg("isa") = "",
      py::arg("threads") = 0);
  m.def(
      conv_name,
      [conv_name](const Values& x, const Values& w, const Pair& stride, const Quad& pad,
                  const Pair& dilation, int64_t groups, const std::string& isa, int threads) {
        return conv2d<Type>(conv_name, x, w, stride, pad, dilation, groups, isa, threads);
      },
      py::arg("x").noconvert(), py::arg("w").noconvert(), py::arg("stride") = Pair{1, 1},
      py::arg("pad") = Quad{0, 0, 0, 0}, py::arg("dilation") = Pair{1, 1}, py::arg("groups") = 1,
      py::arg("isa") = "", py::arg("threads") = 0);
}

}  // namespace

void bind_arrays(py::module_& m) {
  bind_dense<S8>(m, "gemm_s8", "conv2d_s8");
  bind_dense<F32>(m, "gemm_f32", "conv2d_f32");
}
