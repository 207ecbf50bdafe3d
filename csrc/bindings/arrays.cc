// Raw operators on NumPy arrays: gluonzip.runtime.operators checks types, this file checks shapes.
#include <array>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "../base/buffer.h"
#include "../base/check.h"
#include "../base/thread_pool.h"
#include "../kernels/table.h"
#include "module.h"

namespace py = pybind11;
using namespace glz;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// 127 * 128 * this still fits an int32 accumulator.
constexpr int64_t kMaxTerms = std::numeric_limits<int32_t>::max() / (127 * 128);
constexpr int64_t kMaxElements = int64_t{1} << 31;

// Pools are kept between calls: starting threads costs more than a small product.
ThreadPool& shared_pool(int threads) {
  static std::mutex mutex;
  static auto* pools = new std::map<int, std::unique_ptr<ThreadPool>>;  // outlives every caller
  std::lock_guard<std::mutex> lock(mutex);
  auto& pool = (*pools)[threads];
  if (pool == nullptr) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

// ---- what differs between int8 and float32

struct S8 {
  using Value = int8_t;
  using Stored = uint8_t;
  using Result = int32_t;
  using Args = ConvS8Args;
  using DepthwiseArgs = DepthwiseS8Args;
  static constexpr ElementType kResult = ElementType::kS32;
  static const ConvS8Kernel& kernel(Isa isa) { return kernel_table(isa).conv_s8; }
  static const DepthwiseS8Kernel& depthwise(Isa isa) { return kernel_table(isa).depthwise_s8; }
  static Stored store(Value x) { return static_cast<uint8_t>(x + kBias); }
};

struct F32 {
  using Value = float;
  using Stored = float;
  using Result = float;
  using Args = ConvF32Args;
  using DepthwiseArgs = DepthwiseF32Args;
  static constexpr ElementType kResult = ElementType::kF32;
  static const ConvF32Kernel& kernel(Isa isa) { return kernel_table(isa).conv_f32; }
  static const DepthwiseF32Kernel& depthwise(Isa isa) { return kernel_table(isa).depthwise_f32; }
  static Stored store(Value x) { return x; }
};

// Planes (n, c, hw) to pixels (layout.h).
template <typename Type>
Buffer to_pixels(const typename Type::Value* x, int64_t n, int64_t c, int64_t hw) {
  const int64_t stride = channel_stride(c);
  Buffer pixels(n * hw * stride * sizeof(typename Type::Stored));
  auto* out = pixels.as<typename Type::Stored>();
  for (int64_t i = 0; i < n * hw; ++i) {
    const auto* from = x + i / hw * c * hw + i % hw;
    for (int64_t k = 0; k < stride; ++k) {
      out[i * stride + k] = Type::store(k < c ? from[k * hw] : 0);
    }
  }
  return pixels;
}

// One group: out has `out_stride` elements between rows.
template <typename Type>
void run_group(ThreadPool& pool, Isa isa, const ConvGeometry& g, const typename Type::Stored* input,
               const typename Type::Value* weights, typename Type::Result* out,
               int64_t out_stride) {
  const auto& kernel = Type::kernel(isa);
  Buffer packed(kernel.packed_bytes(g));
  kernel.pack(g, weights, packed.data());
  const int64_t workspace = round_up(kernel.workspace_bytes(g), 64);
  Buffer workspaces(workspace * pool.size());
  Buffer zeros(round_up(g.out_channels, 64) * sizeof(float));
  std::memset(zeros.data(), 0, zeros.size());

  typename Type::Args args = {g, input, packed.data(), {}, nullptr};
  args.epilogue.bias = zeros.as<float>();
  args.epilogue.output = out;
  args.epilogue.output_type = Type::kResult;
  args.epilogue.output_stride = out_stride;

  const int64_t rows = g.rows(), panels = ceil_div(g.out_channels, kernel.panel);
  const int64_t row_blocks = std::min<int64_t>(ceil_div(rows, kernel.tile_rows), 4 * pool.size());
  const int64_t step = round_up(ceil_div(rows, std::max<int64_t>(row_blocks, 1)), kernel.tile_rows);
  const int64_t panel_blocks =
      row_blocks < pool.size() ? std::min<int64_t>(panels, pool.size()) : 1;
  pool.parallel_for(row_blocks * panel_blocks, [&](int64_t task, int thread) {
    const int64_t begin = task / panel_blocks * step, block = task % panel_blocks;
    if (begin >= rows) return;
    typename Type::Args mine = args;
    mine.workspace = workspaces.as<char>() + workspace * thread;
    kernel.run(mine, begin, std::min(begin + step, rows), panels * block / panel_blocks,
               panels * (block + 1) / panel_blocks);
  });
}

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
  ConvGeometry g = {};
  g.n = g.h = g.kh = g.kw = g.sh = g.sw = g.dh = g.dw = g.oh = 1;
  g.w = g.ow = m;
  g.channels = k;
  g.stride_c = channel_stride(k);
  g.out_channels = n;
  const Buffer pixels = to_pixels<Type>(from, m, k, 1);
  run_group<Type>(pool, isa, g, pixels.as<typename Type::Stored>(), weights, to, n);
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
    run_group<Type>(pool, isa, g, pixels.as<typename Type::Stored>() + group * g.channels,
                    ordered + first * window * g.channels, rows + first, out_channels);
  }
  pool.parallel_for(g.n * out_channels, [&](int64_t plane, int) {
    const Result* row = rows + plane / out_channels * hw * out_channels + plane % out_channels;
    for (int64_t i = 0; i < hw; ++i) planes[plane * hw + i] = row[i * out_channels];
  });
  return out;
}

// ---- sparse times dense

template <typename Args, typename Value, typename Result>
Array<Result> spmm(const char* name, const Array<int32_t>& row_begin, const Array<int32_t>& columns,
                   const Array<Value>& values, const Array<Value>& x,
                   void (*run)(const Args&, int64_t, int64_t), int threads) {
  const int64_t m = row_begin.size() - 1;
  GLZ_CHECK(x.ndim() == 2, kShape, name << ": the dense matrix has " << x.ndim() << " axes, not 2");
  GLZ_CHECK(m >= 0 && row_begin.at(0) == 0 && row_begin.at(m) == columns.size() &&
                columns.size() == values.size(),
            kData, name << ": the row offsets must run from 0 to the number of values");
  const int64_t k = x.shape(0), n = x.shape(1);
  for (int64_t row = 0; row < m; ++row) {
    GLZ_CHECK(row_begin.at(row) <= row_begin.at(row + 1), kData,
              name << ": the row offsets fall at row " << row);
  }
  for (int64_t i = 0; i < columns.size(); ++i) {
    GLZ_CHECK(columns.at(i) >= 0 && columns.at(i) < k, kShape,
              name << ": value " << i << " is in column " << columns.at(i)
                   << ", the dense matrix has " << k << " rows");
  }
  Array<Result> y({m, n});
  const Args args = {
      m, n, k, row_begin.data(), columns.data(), values.data(), x.data(), y.mutable_data()};
  ThreadPool& pool = shared_pool(threads);
  py::gil_scoped_release release;
  const int64_t blocks = std::min<int64_t>(m, 8 * pool.size());
  pool.parallel_for(
      blocks, [&](int64_t block, int) { run(args, m * block / blocks, m * (block + 1) / blocks); });
  return y;
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
  m.def(
      "spmm",
      [](const Array<int32_t>& row_begin, const Array<int32_t>& columns, const Array<float>& values,
         const Array<float>& x, const std::string& isa, int threads) {
        const auto run = kernel_table(resolve_isa(isa)).spmm.run_f32;
        return spmm<SpmmF32Args, float, float>("spmm", row_begin, columns, values, x, run, threads);
      },
      py::arg("row_begin").noconvert(), py::arg("columns").noconvert(),
      py::arg("values").noconvert(), py::arg("x").noconvert(), py::arg("isa") = "",
      py::arg("threads") = 0);
  m.def(
      "spmm_s8",
      [](const Array<int32_t>& row_begin, const Array<int32_t>& columns,
         const Array<int8_t>& values, const Array<int8_t>& x, const std::string& isa, int threads) {
        if (x.ndim() == 2) check_terms("spmm_s8", x.shape(0));
        const auto run = kernel_table(resolve_isa(isa)).spmm.run_s8;
        return spmm<SpmmS8Args, int8_t, int32_t>("spmm_s8", row_begin, columns, values, x, run,
                                                 threads);
      },
      py::arg("row_begin").noconvert(), py::arg("columns").noconvert(),
      py::arg("values").noconvert(), py::arg("x").noconvert(), py::arg("isa") = "",
      py::arg("threads") = 0);
}
