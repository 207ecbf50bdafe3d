// int8 convolution of narrow groups, one block of channels. Included in a namespace of an ISA file,
// after ../depthwise/s8.inl.h, whose blocks, lanes and epilogue these are.
//
// A block's outputs are four vectors; 128 bits of vector `q` are channels 16 L + 4 q ... + 3, of
// lane L. The inputs that they need are words of the same lane of the block's pixel (groups of up
// to 16 channels) or of it and its neighbour (32): shuffles within lanes spread a word over the
// lane, and every product is one that the convolution wants.
//
// Packed block: start values, then weights [tap][q][word of the group], each a Dot vector.

namespace grouped {

template <int W>
struct Group {
  static constexpr int kWords = W / 4;  // of a group's pixel
  static constexpr int kTapBytes = 4 * kWords * kDotBytes;
  // Words of the lane, or of two lanes, that outputs of vector q read.
  static constexpr int first_word(int q) { return W >= 16 ? 0 : q / kWords * kWords; }
};

int64_t block_bytes(const ConvGeometry& g, int64_t width) {
  return kStartBytes + g.kh * g.kw * width * kDotBytes;
}

// weights: of the block's first channel; count: channels in it.
void pack_block(const ConvGeometry& g, int64_t width, const int8_t* weights, int64_t count,
                char* packed) {
  int32_t* start = reinterpret_cast<int32_t*>(packed);
  packed += kStartBytes;
  memset(start, 0, kStartBytes);
  for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
    for (int64_t q = 0; q < 4; ++q) {
      for (int64_t word = 0; word < width / 4; ++word, packed += kDotBytes) {
        int8_t taps[kBlock] = {};
        for (int64_t i = 0; i < kBlock; ++i) {
          const int64_t lane = i / 4, c = lane_channel(q, lane);
          if (c >= count) continue;
          taps[i] = weights[(c * g.kh * g.kw + tap) * width + word * 4 + i % 4];
          start[q * Vector::kLanes + lane] -= static_cast<int32_t>(g.zero) * taps[i];
        }
        Dot::pack(taps, packed);
      }
    }
  }
}

// Products of word kWord of the group, or of both groups of a lane, with all outputs of the tile.
template <int W, int kWord>
GLZ_INLINE void multiply_word(const Vector::B (&x)[kTile], const char* w,
                              Vector::I (&acc)[kTile][4]) {
  constexpr int kInLane = kWord % 4;
  unroll<kTile>([&](auto t) GLZ_UNROLLED {
    const Dot::Taps taps = Dot::taps(Vector::spread_word<kInLane>(x[t.value]));
    unroll<4>([&](auto q) GLZ_UNROLLED {
      constexpr int word = kWord - Group<W>::first_word(q.value);
      if constexpr (word >= 0 && word < Group<W>::kWords) {
        const char* from = w + (q.value * Group<W>::kWords + word) * kDotBytes;
        acc[t.value][q.value] = Dot::mul_add(acc[t.value][q.value], taps, from);
      }
    });
  });
}

template <int W>
GLZ_INLINE void multiply(const Vector::B (&x)[kTile], const char* w, Vector::I (&acc)[kTile][4]) {
  if constexpr (W <= 16) {
    unroll<4>([&](auto word) GLZ_UNROLLED { multiply_word<W, word.value>(x, w, acc); });
  } else {
    Vector::B half[kTile];
    for (int t = 0; t < kTile; ++t) half[t] = Vector::even_lanes(x[t]);
    unroll<4>([&](auto word) GLZ_UNROLLED { multiply_word<W, word.value>(half, w, acc); });
    for (int t = 0; t < kTile; ++t) half[t] = Vector::odd_lanes(x[t]);
    unroll<4>([&](auto word) GLZ_UNROLLED { multiply_word<W, word.value + 4>(half, w, acc); });
  }
}

// The kernel row `i` that output row `job.oh` meets: pixel 0 of an image row and the bytes between
// pixels; a row outside the image stays on the same bytes.
struct InputRow {
  const uint8_t* first;
  int64_t step;
};

GLZ_INLINE InputRow input_row(const RowJob& job, int64_t i) {
  const ConvGeometry& g = job.g;
  const int64_t ih = job.oh * g.sh - g.pad_top + i * g.dh;
  if (ih < 0 || ih >= g.h) return {outside(g), 0};
  return {job.input + (job.image * g.h + ih) * g.w * g.stride_c, g.stride_c};
}

template <bool kInside>
GLZ_INLINE Vector::B load_pixel(const RowJob& job, const InputRow& row, int64_t column) {
  const bool inside = kInside || (column >= 0 && column < job.g.w);
  return Vector::load_bytes(inside ? row.first + column * row.step : outside(job.g));
}

template <bool kInside>
GLZ_INLINE void store_tile(const RowJob& job, const Vector::I (&acc)[kTile][4], int64_t ow) {
  unroll<kTile>([&](auto t) GLZ_UNROLLED {
    if (kInside || ow + t.value < job.g.ow) store_pixel(job, acc[t.value], ow + t.value);
  });
}

// Groups of 4 in a 3x3 window: as many shuffles as products in tile(), so that here a column's
// serve all the pixels that it belongs to, and a row's weights stay in registers.
template <int SW, bool kInside>
GLZ_INLINE void tile_of_fours(const RowJob& job, int64_t ow) {
  Vector::I acc[kTile][4];
  for (int t = 0; t < kTile; ++t) {
    for (int q = 0; q < 4; ++q) acc[t][q] = Vector::load_ints(job.packed + q * kBlock);
  }
  const char* w = job.packed + kStartBytes;
  for (int64_t i = 0; i < 3; ++i, w += 3 * Group<4>::kTapBytes) {
    const InputRow row = input_row(job, i);
    unroll<(kTile - 1) * SW + 3>([&](auto column) GLZ_UNROLLED {
      const Vector::B x = load_pixel<kInside>(job, row, ow * SW - job.g.pad_left + column.value);
      unroll<4>([&](auto q) GLZ_UNROLLED {
        const Dot::Taps taps = Dot::taps(Vector::spread_word<q.value>(x));
        unroll<kTile>([&](auto t) GLZ_UNROLLED {
          constexpr int j = column.value - t.value * SW;
          if constexpr (j >= 0 && j < 3) {
            const char* from = w + j * Group<4>::kTapBytes + q.value * kDotBytes;
            acc[t.value][q.value] = Dot::mul_add(acc[t.value][q.value], taps, from);
          }
        });
      });
    });
  }
  store_tile<kInside>(job, acc, ow);
}

// kTile output pixels from `ow` on. kInside: no tap is left or right of the image.
template <int W, bool kInside>
GLZ_INLINE void tile(const RowJob& job, int64_t ow) {
  const ConvGeometry& g = job.g;
  Vector::I acc[kTile][4];
  for (int t = 0; t < kTile; ++t) {
    for (int q = 0; q < 4; ++q) acc[t][q] = Vector::load_ints(job.packed + q * kBlock);
  }
  const char* w = job.packed + kStartBytes;
  for (int64_t i = 0; i < g.kh; ++i) {
    const InputRow row = input_row(job, i);
    for (int64_t j = 0; j < g.kw; ++j, w += Group<W>::kTapBytes) {
      const int64_t iw = ow * g.sw - g.pad_left + j * g.dw;
      Vector::B x[kTile];
      for (int t = 0; t < kTile; ++t) x[t] = load_pixel<kInside>(job, row, iw + t * g.sw);
      multiply<W>(x, w, acc);
    }
  }
  store_tile<kInside>(job, acc, ow);
}

// kThrees: the stride, if tile_of_fours() will do; else 0.
template <int W, int kThrees>
void run_row(const RowJob& job) {
  const ConvGeometry& g = job.g;
  for (int64_t ow = 0; ow < g.ow; ow += kTile) {
    const int64_t first = ow * g.sw - g.pad_left;
    const int64_t last = first + (kTile - 1) * g.sw + (g.kw - 1) * g.dw;
    const bool inside = first >= 0 && last < g.w && ow + kTile <= g.ow;
    if constexpr (kThrees > 0) {
      inside ? tile_of_fours<kThrees, true>(job, ow) : tile_of_fours<kThrees, false>(job, ow);
    } else {
      inside ? tile<W, true>(job, ow) : tile<W, false>(job, ow);
    }
  }
}

RunRow choose_row(const ConvGeometry& g, int64_t width) {
  const bool threes = g.kh == 3 && g.kw == 3 && g.dw == 1;
  if (width == 4 && threes && g.sw == 1) return run_row<4, 1>;
  if (width == 4 && threes && g.sw == 2) return run_row<4, 2>;
  if (width == 4) return run_row<4, 0>;
  if (width == 8) return run_row<8, 0>;
  return width == 16 ? run_row<16, 0> : run_row<32, 0>;
}

// Output image rows [begin, end) of the block at `channel`.
void run_block(const GroupedS8Args& a, const Epilogue& epilogue, const char* packed,
               int64_t channel, int64_t begin, int64_t end) {
  const ConvGeometry& g = a.geometry;
  const RunRow run_row = choose_row(g, a.width);
  const int64_t count = least(g.channels - channel, kBlock);
  const uint8_t* input = a.input + channel;
  Requantize requantize;
  prepare(epilogue, channel, &requantize);
  for (int64_t i = begin; i < end; ++i) {
    run_row({g, epilogue, requantize, input, packed, channel, count, i / g.oh, i % g.oh});
  }
}

}  // namespace grouped
