// int8 depthwise convolution of one block of channels. Included in a namespace of an ISA file,
// after Vector and a struct Dot:
//
//   Taps                  4 taps of each of kLanes channels, made by taps() from bytes
//   pack(lane bytes)      kVecs vectors of their weights
//   mul_add(acc, taps, w) acc + the exact sum of the 4 products
//
// A column of the window is taken four rows at a time: their pixels are interleaved once and meet
// the weights of every output pixel that the column belongs to. Packed block: start values (what
// the zero byte adds too much), then weights [row group][column][quarter], each a Dot vector.

constexpr int64_t kBlock = Vector::kBytes;
constexpr int64_t kStartBytes = 4 * kBlock;
constexpr int64_t kDotBytes = Dot::kVecs * kBlock;  // weights of one quarter of the block
#ifdef __AVX512VL__
constexpr int kTile = 4;  // output pixels in registers, of which there are 32
#else
constexpr int kTile = 2;
#endif

#include "../vector/finish.inl.h"

// Outside the image; 64 bytes serve both vector lengths and each of two zero bytes.
#define GLZ_8(x) x, x, x, x, x, x, x, x
alignas(64) const uint8_t kZeros[64] = {};
alignas(64) const uint8_t kZeros128[64] = {GLZ_8(128), GLZ_8(128), GLZ_8(128), GLZ_8(128),
                                           GLZ_8(128), GLZ_8(128), GLZ_8(128), GLZ_8(128)};
#undef GLZ_8
GLZ_INLINE const uint8_t* outside(const ConvGeometry& g) {
  return g.zero == 0 ? kZeros : kZeros128;
}

GLZ_INLINE int64_t row_groups(const ConvGeometry& g) { return parts(g.kh, 4); }

int64_t block_bytes(const ConvGeometry& g) {
  return kStartBytes + row_groups(g) * g.kw * 4 * kDotBytes;
}

// The channel in `lane` of quarter `q` once rows are interleaved.
GLZ_INLINE int64_t lane_channel(int64_t q, int64_t lane) {
  return lane / 4 * 16 + q * 4 + lane % 4;
}

// weights: of the block's first channel; count: channels in it.
void pack_block(const ConvGeometry& g, const int8_t* weights, int64_t count, char* packed) {
  int32_t* start = reinterpret_cast<int32_t*>(packed);
  packed += kStartBytes;
  memset(start, 0, kStartBytes);
  for (int64_t group = 0; group < row_groups(g); ++group) {
    for (int64_t j = 0; j < g.kw; ++j) {
      for (int64_t q = 0; q < 4; ++q, packed += kDotBytes) {
        int8_t taps[kBlock] = {};
        for (int64_t i = 0; i < kBlock; ++i) {
          const int64_t lane = i / 4, c = lane_channel(q, lane), row = group * 4 + i % 4;
          if (c >= count || row >= g.kh) continue;
          taps[i] = weights[(c * g.kh + row) * g.kw + j];
          start[q * Vector::kLanes + lane] -= static_cast<int32_t>(g.zero) * taps[i];
        }
        Dot::pack(taps, packed);
      }
    }
  }
}

// Four input rows of a window; one outside the image stays on the same 64 bytes.
struct Rows {
  const uint8_t* outside;
  const uint8_t* at[4];
  int64_t step[4];
};

GLZ_INLINE Rows find_rows(const ConvGeometry& g, const uint8_t* x, int64_t image, int64_t oh,
                          int64_t group) {
  Rows rows;
  rows.outside = outside(g);
  for (int r = 0; r < 4; ++r) {
    const int64_t i = group * 4 + r, ih = oh * g.sh - g.pad_top + i * g.dh;
    const bool inside = i < g.kh && ih >= 0 && ih < g.h;
    rows.at[r] = inside ? x + (image * g.h + ih) * g.w * g.stride_c : rows.outside;
    rows.step[r] = inside ? g.stride_c : 0;
  }
  return rows;
}

// Two quarters of a column of up to four rows; those past kRows have zero weights, so that any
// bytes will do.
template <int kRows, int kHalf>
GLZ_INLINE void load_taps(const Rows& rows, int64_t iw, bool inside, Dot::Taps (&taps)[2]) {
  Vector::B x[4], mixed[2];
  for (int r = 0; r < 4; ++r) {
    x[r] = r < kRows ? Vector::load_bytes(inside ? rows.at[r] + iw * rows.step[r] : rows.outside)
                     : x[kRows - 1];
  }
  Vector::interleave<kHalf>(x[0], x[1], x[2], x[3], mixed);
  for (int q = 0; q < 2; ++q) taps[q] = Dot::taps(mixed[q]);
}

// The usual epilogue, to codes without a residual or a slope, needs no reordering before the bytes.
struct Requantize {
  bool usual;
  float hi;
  Vector::Codes codes;
  alignas(64) float multiplier[kBlock], bias[kBlock];  // in the order of the lanes
};

void prepare(const Epilogue& e, int64_t channel, Requantize* r) {
  r->usual = holds_codes(e.output_type) && e.residual == nullptr && !e.leaky;
  if (!r->usual) return;
  r->hi = e.hi;
  r->codes = Vector::codes(zero_byte(e.output_type), static_cast<int>(__builtin_rintf(e.lo)));
  for (int64_t i = 0; i < kBlock; i += 4) {
    const int64_t c = channel + lane_channel(i / Vector::kLanes, i % Vector::kLanes);
    memcpy(r->multiplier + i, e.multiplier + c, 4 * sizeof(float));
    memcpy(r->bias + i, e.bias + c, 4 * sizeof(float));
  }
}

// Bounds commute with rounding, which is monotonic: hi is applied before, so that the conversion to
// int32 cannot overflow upwards, and lo after (downwards it gives the lowest int32).
template <int kHalf>
GLZ_INLINE Vector::I requantize_half(const Requantize& r, const Vector::I (&acc)[2]) {
  Vector::I codes[2];
  for (int q = 0; q < 2; ++q) {
    const int lane = (2 * kHalf + q) * Vector::kLanes;
    const Vector::F m = Vector::load(r.multiplier + lane), b = Vector::load(r.bias + lane);
    const Vector::F y = Vector::add(Vector::mul(Vector::to_float(acc[q]), m), b);
    codes[q] = Vector::to_int(Vector::min(y, Vector::set(r.hi)));
  }
  return Vector::pack_half(codes[0], codes[1], r.codes);
}

GLZ_INLINE void finish_pixel(const Epilogue& e, const Vector::I (&acc)[4], int64_t row,
                             int64_t channel, int64_t count) {
  constexpr int kVecs = Vector::kCodeVecs;
  constexpr int64_t kLanes = Vector::kLanes;
  Vector::I ordered[4 / kVecs][kVecs];
  Vector::in_order(acc, ordered);
  for (int i = 0; i < 4 / kVecs; ++i) {
    const int64_t done = i * kVecs * kLanes, left = count - done;
    if (left > (kVecs - 1) * kLanes) {
      finish_row<true>(e, ordered[i], row, channel + done, least(left, kVecs * kLanes));
      continue;
    }
    for (int v = 0; v * kLanes < left; ++v) {
      const Vector::I one[1] = {ordered[i][v]};
      finish_row<true>(e, one, row, channel + done + v * kLanes, least(left - v * kLanes, kLanes));
    }
  }
}

// A run of one block over one output row.
struct RowJob {
  const ConvGeometry& g;
  const Epilogue& epilogue;
  const Requantize& requantize;
  const uint8_t* input;  // at the block's first channel
  const char* packed;
  int64_t channel, count;  // the block's
  int64_t image, oh;
};

GLZ_INLINE int64_t output_row(const RowJob& job, int64_t ow) {
  return (job.image * job.g.oh + job.oh) * job.g.ow + ow;
}

GLZ_INLINE void store_pixel(const RowJob& job, const Vector::I (&acc)[4], int64_t ow) {
  const Requantize& r = job.requantize;
  if (!r.usual) {
    return finish_pixel(job.epilogue, acc, output_row(job, ow), job.channel, job.count);
  }
  const Vector::I low = requantize_half<0>(r, {acc[0], acc[1]});
  const Vector::I high = requantize_half<1>(r, {acc[2], acc[3]});
  const Epilogue& e = job.epilogue;
  uint8_t* out = static_cast<uint8_t*>(e.output) + output_row(job, ow) * e.output_stride;
  Vector::store_bytes(out + job.channel, Vector::pack_halves(low, high, r.codes), job.count);
}

// Half of the sums of kTile output pixels from `ow` on, dilation 1: few enough for registers.
// kInside: no tap is left or right of the image.
template <int KH, int KW, int SW, bool kInside, int kHalf>
GLZ_INLINE void sum_half(const RowJob& job, const Rows* rows, int64_t ow,
                         Vector::I (&acc)[kTile][2]) {
  constexpr int kGroups = (KH + 3) / 4;
  const ConvGeometry& g = job.g;
  const char* packed = job.packed + 2 * kHalf * kBlock;
  unroll<kTile>([&](auto t) GLZ_UNROLLED {
    for (int q = 0; q < 2; ++q) acc[t.value][q] = Vector::load_ints(packed + q * kBlock);
  });
  const char* weights = job.packed + kStartBytes + 2 * kHalf * kDotBytes;
  unroll<(kTile - 1) * SW + KW>([&](auto column) GLZ_UNROLLED {
    const int64_t iw = ow * SW - g.pad_left + column.value;
    const bool inside = kInside || (iw >= 0 && iw < g.w);
    unroll<kGroups>([&](auto group) GLZ_UNROLLED {
      constexpr int kRows = least(KH - 4 * group.value, 4);
      Dot::Taps taps[2];
      load_taps<kRows, kHalf>(rows[group.value], iw, inside, taps);
      unroll<kTile>([&](auto t) GLZ_UNROLLED {
        constexpr int j = column.value - t.value * SW;
        if constexpr (j >= 0 && j < KW) {
          const char* w = weights + (group.value * KW + j) * 4 * kDotBytes;
          for (int q = 0; q < 2; ++q) {
            acc[t.value][q] = Dot::mul_add(acc[t.value][q], taps[q], w + q * kDotBytes);
          }
        }
      });
    });
  });
  // Now: GCC would move the products to where each sum is used, and run out of registers.
  unroll<kTile>([&](auto t) GLZ_UNROLLED {
    for (int q = 0; q < 2; ++q) asm volatile("" : "+v"(acc[t.value][q]));
  });
}

// A tile with an unusual epilogue.
template <int KH, int KW, int SW>
__attribute__((noinline)) void any_tile(const RowJob& job, const Rows* rows, int64_t ow) {
  Vector::I low[kTile][2], high[kTile][2];
  sum_half<KH, KW, SW, false, 0>(job, rows, ow, low);
  sum_half<KH, KW, SW, false, 1>(job, rows, ow, high);
  for (int t = 0; t < kTile && ow + t < job.g.ow; ++t) {
    const Vector::I acc[4] = {low[t][0], low[t][1], high[t][0], high[t][1]};
    finish_pixel(job.epilogue, acc, output_row(job, ow + t), job.channel, job.count);
  }
}

template <int KH, int KW, int SW, bool kInside>
GLZ_INLINE void tile(const RowJob& job, const Rows* rows, int64_t ow) {
  const Requantize& r = job.requantize;
  Vector::I low[kTile][2], high[kTile][2], words[kTile];
  sum_half<KH, KW, SW, kInside, 0>(job, rows, ow, low);
  unroll<kTile>([&](auto t) GLZ_UNROLLED { words[t.value] = requantize_half<0>(r, low[t.value]); });
  sum_half<KH, KW, SW, kInside, 1>(job, rows, ow, high);
  const int64_t stride = job.epilogue.output_stride;
  uint8_t* out = static_cast<uint8_t*>(job.epilogue.output) + output_row(job, ow) * stride;
  unroll<kTile>([&](auto t) GLZ_UNROLLED {
    const Vector::I above = requantize_half<1>(r, high[t.value]);
    const Vector::B codes = Vector::pack_halves(words[t.value], above, r.codes);
    if (t.value < job.g.ow - ow) {
      Vector::store_bytes(out + t.value * stride + job.channel, codes, job.count);
    }
  });
}

template <int KH, int KW, int SW>
void run_tiled(const RowJob& job) {
  const ConvGeometry& g = job.g;
  Rows rows[(KH + 3) / 4];
  for (int group = 0; group < (KH + 3) / 4; ++group) {
    rows[group] = find_rows(g, job.input, job.image, job.oh, group);
  }
  for (int64_t ow = 0; ow < g.ow; ow += kTile) {
    const int64_t first = ow * SW - g.pad_left, last = first + (kTile - 1) * SW + KW - 1;
    if (!job.requantize.usual) {
      any_tile<KH, KW, SW>(job, rows, ow);
    } else if (first >= 0 && last < g.w) {
      tile<KH, KW, SW, true>(job, rows, ow);
    } else {
      tile<KH, KW, SW, false>(job, rows, ow);
    }
  }
}

// Any window.
void run_any(const RowJob& job) {
  const ConvGeometry& g = job.g;
  for (int64_t ow = 0; ow < g.ow; ++ow) {
    Vector::I acc[4];
    for (int q = 0; q < 4; ++q) acc[q] = Vector::load_ints(job.packed + q * kBlock);
    const char* w = job.packed + kStartBytes;
    for (int64_t group = 0; group < row_groups(g); ++group) {
      const Rows rows = find_rows(g, job.input, job.image, job.oh, group);
      for (int64_t j = 0; j < g.kw; ++j, w += 4 * kDotBytes) {
        const int64_t iw = ow * g.sw - g.pad_left + j * g.dw;
        const bool inside = iw >= 0 && iw < g.w;
        unroll<2>([&](auto half) GLZ_UNROLLED {
          constexpr int kFirst = 2 * half.value;
          Dot::Taps taps[2];
          load_taps<4, half.value>(rows, iw, inside, taps);
          for (int q = 0; q < 2; ++q) {
            const char* from = w + (kFirst + q) * kDotBytes;
            acc[kFirst + q] = Dot::mul_add(acc[kFirst + q], taps[q], from);
          }
        });
      }
    }
    store_pixel(job, acc, ow);
  }
}

using RunRow = void (*)(const RowJob&);

RunRow choose_row(const ConvGeometry& g) {
  if (g.dw != 1 || g.kh != g.kw) return run_any;
  if (g.kh == 3 && g.sw == 1) return run_tiled<3, 3, 1>;
  if (g.kh == 3 && g.sw == 2) return run_tiled<3, 3, 2>;
  if (g.kh == 5 && g.sw == 1) return run_tiled<5, 5, 1>;
  if (g.kh == 5 && g.sw == 2) return run_tiled<5, 5, 2>;
  return run_any;
}

// Output image rows [begin, end) of the block at `channel`.
void run_block(const DepthwiseS8Args& a, const Epilogue& epilogue, const char* packed,
               int64_t channel, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  const RunRow run_row = choose_row(g);
  const int64_t count = least(g.channels - channel, kBlock);
  const uint8_t* input = a.input + channel;
  Requantize requantize;
  prepare(epilogue, channel, &requantize);
  for (int64_t i = begin; i < end; ++i) {
    run_row({g, epilogue, requantize, input, packed, channel, count, i / g.oh, i % g.oh});
  }
}
