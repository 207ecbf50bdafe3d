// float32 depthwise convolution. Included in a namespace of an ISA file, after Vector.
//
// Blocks of two vectors of channels; packed [block][kh][kw][kBlock], zero past the last channel.

constexpr int kVecs = 2;
constexpr int64_t kBlock = kVecs * Vector::kLanes;
constexpr int kTile = 4;  // output pixels in registers

#include "../vector/finish.inl.h"

alignas(64) const float kOutside[32] = {};

size_t packed_bytes(const ConvGeometry& g) {
  return static_cast<size_t>(parts(g.channels, kBlock) * kBlock * g.kh * g.kw) * sizeof(float);
}

void pack(const ConvGeometry& g, const float* weights, void* packed) {
  float* to = static_cast<float*>(packed);
  const int64_t window = g.kh * g.kw;
  for (int64_t first = 0; first < g.channels; first += kBlock) {
    for (int64_t tap = 0; tap < window; ++tap) {
      for (int64_t c = first; c < first + kBlock; ++c) {
        *to++ = c < g.channels ? weights[c * window + tap] : 0.0f;
      }
    }
  }
}

struct RowJob {
  const ConvGeometry& g;
  const Epilogue& epilogue;
  const float* input;   // at the block's first channel
  const float* packed;  // of the block
  int64_t channel, count;
  int64_t image, oh;
};

// The input pixel (ih, iw) of the job's image, or zeros.
GLZ_INLINE const float* pixel(const RowJob& job, int64_t ih, int64_t iw) {
  const ConvGeometry& g = job.g;
  const bool inside = ih >= 0 && ih < g.h && iw >= 0 && iw < g.w;
  return inside ? job.input + ((job.image * g.h + ih) * g.w + iw) * g.stride_c : kOutside;
}

template <int V, int T>
GLZ_INLINE void store_tile(const RowJob& job, const Vector::F (&acc)[T][V], int64_t ow) {
  const ConvGeometry& g = job.g;
  const int64_t row = (job.image * g.oh + job.oh) * g.ow + ow, valid = least(g.ow - ow, T);
  for (int t = 0; t < T; ++t) {
    if (t < valid) finish_row<false>(job.epilogue, acc[t], row + t, job.channel, job.count);
  }
}

// Dilation 1, a window KW wide, of any height.
template <int V, int KW, int SW>
void run_tiled(const RowJob& job) {
  const ConvGeometry& g = job.g;
  for (int64_t ow = 0; ow < g.ow; ow += kTile) {
    Vector::F acc[kTile][V];
    for (auto& of_pixel : acc) {
      for (auto& x : of_pixel) x = Vector::zero();
    }
    for (int64_t i = 0; i < g.kh; ++i) {
      const int64_t ih = job.oh * g.sh - g.pad_top + i * g.dh;
      if (ih < 0 || ih >= g.h) continue;
      unroll<(kTile - 1) * SW + KW>([&](auto column) GLZ_UNROLLED {
        const float* from = pixel(job, ih, ow * SW - g.pad_left + column.value);
        Vector::F x[V];
        for (int v = 0; v < V; ++v) x[v] = Vector::load(from + v * Vector::kLanes);
        unroll<kTile>([&](auto t) GLZ_UNROLLED {
          constexpr int j = column.value - t.value * SW;
          if constexpr (j >= 0 && j < KW) {
            const float* w = job.packed + (i * KW + j) * kBlock;
            for (int v = 0; v < V; ++v) {
              const Vector::F weights = Vector::load(w + v * Vector::kLanes);
              acc[t.value][v] = Vector::fma(x[v], weights, acc[t.value][v]);
            }
          }
        });
      });
    }
    store_tile(job, acc, ow);
  }
}

// Any window.
template <int V>
void run_any(const RowJob& job) {
  const ConvGeometry& g = job.g;
  for (int64_t ow = 0; ow < g.ow; ++ow) {
    Vector::F acc[1][V];
    for (auto& x : acc[0]) x = Vector::zero();
    const float* w = job.packed;
    for (int64_t i = 0; i < g.kh; ++i) {
      for (int64_t j = 0; j < g.kw; ++j, w += kBlock) {
        const float* from =
            pixel(job, job.oh * g.sh - g.pad_top + i * g.dh, ow * g.sw - g.pad_left + j * g.dw);
        for (int v = 0; v < V; ++v) {
          acc[0][v] = Vector::fma(Vector::load(from + v * Vector::kLanes),
                                  Vector::load(w + v * Vector::kLanes), acc[0][v]);
        }
      }
    }
    store_tile(job, acc, ow);
  }
}

using RunRow = void (*)(const RowJob&);

template <int V>
RunRow choose_row(const ConvGeometry& g) {
  if (g.dw == 1 && g.kw == 3 && g.sw == 1) return run_tiled<V, 3, 1>;
  if (g.dw == 1 && g.kw == 3 && g.sw == 2) return run_tiled<V, 3, 2>;
  if (g.dw == 1 && g.kw == 5 && g.sw == 1) return run_tiled<V, 5, 1>;
  if (g.dw == 1 && g.kw == 5 && g.sw == 2) return run_tiled<V, 5, 2>;
  return run_any<V>;
}

void run(const DepthwiseF32Args& a, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  Epilogue e = a.epilogue;
  clamp_to_codes(&e);
  const float* packed = static_cast<const float*>(a.packed);
  for (int64_t c = 0; c < g.channels; c += kBlock, packed += kBlock * g.kh * g.kw) {
    const int64_t count = least(g.channels - c, kBlock);
    // A vector without any valid channel may be past the readable end.
    const RunRow run_row = count > Vector::kLanes ? choose_row<2>(g) : choose_row<1>(g);
    for (int64_t i = begin; i < end; ++i) {
      run_row({g, e, a.input + c, packed, c, count, i / g.oh, i % g.oh});
    }
  }
}
