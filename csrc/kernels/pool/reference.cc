#include <algorithm>
#include <limits>

#include "../epilogue_scalar.h"
#include "../taps.h"
#include "contract.h"

namespace glz::reference {
namespace {

// The cells of one window that are inside the image, and how many an average divides by.
struct Window {
  int64_t top, bottom, left, right, divisor;
};

Window window(const PoolArgs& a, const OutputPixel& p) {
  const ConvGeometry& g = a.geometry;
  const int64_t top = p.oh * g.sh - g.pad_top, left = p.ow * g.sw - g.pad_left;
  const int64_t padded_bottom = std::min(top + g.kh, g.h + a.pad_bottom);
  const int64_t padded_right = std::min(left + g.kw, g.w + a.pad_right);
  Window w = {std::max<int64_t>(top, 0), std::min(padded_bottom, g.h), std::max<int64_t>(left, 0),
              std::min(padded_right, g.w), 0};
  w.divisor = a.count_pad ? (padded_bottom - top) * (padded_right - left)
                          : (w.bottom - w.top) * (w.right - w.left);
  return w;
}

// Calls fn(value) for each cell of channel c in the window.
template <typename T, typename Fn>
void each_cell(const PoolArgs& a, const Window& w, int64_t n, int64_t c, Fn fn) {
  const ConvGeometry& g = a.geometry;
  for (int64_t y = w.top; y < w.bottom; ++y) {
    for (int64_t x = w.left; x < w.right; ++x) {
      fn(static_cast<const T*>(a.input)[((n * g.h + y) * g.w + x) * g.stride_c + c]);
    }
  }
}

// Calls fn(window, n, channel, index of the output element).
template <typename Fn>
void each_output(const PoolArgs& a, int64_t begin, int64_t end, Fn fn) {
  const ConvGeometry& g = a.geometry;
  for (int64_t row = begin * g.ow; row < end * g.ow; ++row) {
    const OutputPixel pixel = output_pixel(g, row);
    const Window w = window(a, pixel);
    for (int64_t c = 0; c < g.channels; ++c) fn(w, pixel.n, c, row * a.output_stride + c);
  }
}

template <typename T>
void max_pool(const PoolArgs& a, T lowest, int64_t begin, int64_t end) {
  each_output(a, begin, end, [&](const Window& w, int64_t n, int64_t c, int64_t out) {
    T most = lowest;
    each_cell<T>(a, w, n, c, [&](T x) { most = x < most ? most : x; });
    static_cast<T*>(a.output)[out] = most;
  });
}

void max_u8(const PoolArgs& a, int64_t begin, int64_t end) {
  max_pool<uint8_t>(a, lowest_byte(a.geometry.zero), begin, end);
}

void max_f32(const PoolArgs& a, int64_t begin, int64_t end) {
  max_pool<float>(a, -std::numeric_limits<float>::infinity(), begin, end);
}

void avg_u8(const PoolArgs& a, int64_t begin, int64_t end) {
  each_output(a, begin, end, [&](const Window& w, int64_t n, int64_t c, int64_t out) {
    int32_t sum = 0;
    each_cell<uint8_t>(a, w, n, c,
                       [&](uint8_t x) { sum += x - static_cast<int32_t>(a.geometry.zero); });
    const float factor = w.divisor > 0 ? a.factor / static_cast<float>(w.divisor) : 0.0f;
    store_value(a.output, a.output_type, out, static_cast<float>(sum) * factor);
  });
}

void avg_f32(const PoolArgs& a, int64_t begin, int64_t end) {
  each_output(a, begin, end, [&](const Window& w, int64_t n, int64_t c, int64_t out) {
    float sum = 0;
    each_cell<float>(a, w, n, c, [&](float x) { sum += x; });
    static_cast<float*>(a.output)[out] = w.divisor > 0 ? sum / static_cast<float>(w.divisor) : 0.0f;
  });
}

}  // namespace

extern const PoolKernel pool = {max_u8, max_f32, avg_u8, avg_f32};

}  // namespace glz::reference
