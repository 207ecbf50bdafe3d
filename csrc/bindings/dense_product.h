// Dense products on arrays, shared by the bindings: int8 and float32, weights packed once.
#pragma once

#include <algorithm>
#include <cstring>

#include "../base/buffer.h"
#include "../base/check.h"
#include "../base/thread_pool.h"
#include "../kernels/table.h"
#include "module.h"

namespace glz {

template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// Pools are kept between calls: starting threads costs more than a small product.
ThreadPool& shared_pool(int threads);

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
  static Stored store(Value x) { return static_cast<uint8_t>(x + zero_byte(ElementType::kS8)); }
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

// Planes (n, c, hw) to pixels (layout.h), a few pixels at a time, for the caches.
template <typename Type>
Buffer to_pixels(const typename Type::Value* x, int64_t n, int64_t c, int64_t hw) {
  constexpr int64_t kBlock = 32;
  const int64_t stride = channel_stride(c);
  Buffer pixels(n * hw * stride * sizeof(typename Type::Stored));
  auto* out = pixels.as<typename Type::Stored>();
  for (int64_t image = 0; image < n; ++image, x += c * hw, out += hw * stride) {
    for (int64_t first = 0; first < hw; first += kBlock) {
      const int64_t last = std::min(first + kBlock, hw);
      for (int64_t k = 0; k < stride; ++k) {
        for (int64_t i = first; i < last; ++i) {
          out[i * stride + k] = Type::store(k < c ? x[k * hw + i] : 0);
        }
      }
    }
  }
  return pixels;
}

// The product (rows, K) x (N, K)^T as a convolution with one tap.
inline ConvGeometry product_geometry(int64_t rows, int64_t n, int64_t k) {
  ConvGeometry g = {};
  g.n = g.h = g.kh = g.kw = g.sh = g.sw = g.dh = g.dw = g.oh = 1;
  g.w = g.ow = rows;
  g.channels = k;
  g.stride_c = channel_stride(k);
  g.out_channels = n;
  return g;
}

// The weights of one group of a convolution, packed; n, h, w, oh, ow may differ from run to run.
template <typename Type>
class PackedGroup {
 public:
  PackedGroup(Isa isa, const ConvGeometry& g, const typename Type::Value* weights)
      : kernel_(Type::kernel(isa)), packed_(kernel_.packed_bytes(g)) {
    kernel_.pack(g, weights, packed_.data());
  }

  size_t bytes() const { return packed_.size(); }

  // out has `out_stride` elements between rows.
  void run(ThreadPool& pool, const ConvGeometry& g, const typename Type::Stored* input,
           typename Type::Result* out, int64_t out_stride) const {
    const int64_t workspace = round_up(kernel_.workspace_bytes(g), 64);
    Buffer workspaces(workspace * pool.size());
    Buffer zeros(round_up(g.out_channels, 64) * sizeof(float));
    std::memset(zeros.data(), 0, zeros.size());

    typename Type::Args args = {g, input, packed_.data(), {}, nullptr};
    args.epilogue.bias = zeros.as<float>();
    args.epilogue.output = out;
    args.epilogue.output_type = Type::kResult;
    args.epilogue.output_stride = out_stride;

    // What is larger, weights or input, is read once.
    const int64_t rows = g.rows(), panels = ceil_div(g.out_channels, kernel_.panel);
    const int64_t tiles = ceil_div(rows, kernel_.tile_rows);
    const bool by_panel = g.out_channels > rows && panels >= 4 * pool.size();
    const int64_t row_blocks = by_panel ? 1 : std::min<int64_t>(tiles, 4 * pool.size());
    const int64_t step =
        round_up(ceil_div(rows, std::max<int64_t>(row_blocks, 1)), kernel_.tile_rows);
    const int64_t panel_blocks =
        row_blocks < pool.size() ? std::min<int64_t>(panels, (by_panel ? 4 : 1) * pool.size()) : 1;
    pool.parallel_for(row_blocks * panel_blocks, [&](int64_t task, int thread) {
      const int64_t begin = task / panel_blocks * step, block = task % panel_blocks;
      if (begin >= rows) return;
      typename Type::Args mine = args;
      mine.workspace = workspaces.as<char>() + workspace * thread;
      kernel_.run(mine, begin, std::min(begin + step, rows), panels * block / panel_blocks,
                  panels * (block + 1) / panel_blocks);
    });
  }

 private:
  std::decay_t<decltype(Type::kernel(Isa::kReference))> kernel_;
  Buffer packed_;
};

}  // namespace glz
