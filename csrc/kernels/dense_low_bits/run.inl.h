// The loops, over what an ISA provides as Few:
//   kParts vectors of Vector::kLanes channels make a panel; kRows rows share what is unpacked;
//   Vec load(p), Vec unpack(v, bit, mask): unsigned integers in bytes;
//   Block begin(acc), Block add(block, x, n), Acc end(acc, block): a block's products x * n, four
//   to a lane; x: the same four bytes in every lane.

static constexpr int kLowParts = Few::kParts;
using LowAcc = Vector::I;

// `C` blocks at a time, each with accumulators of its own: the sums wait for each other otherwise.
template <int W, int R, int C>
GLZ_INLINE void add_blocks(const uint8_t* const (&x)[R], const uint8_t* weights, int64_t at,
                           LowAcc (&acc)[C][R][kLowParts]) {
  constexpr int kQuads = 8 / W, kMask = (1 << W) - 1;
  unroll<C>([&](auto chain) GLZ_UNROLLED {
    constexpr int c = decltype(chain)::value;
    typename Few::Vec packed[kLowParts];
    typename Few::Block block[R][kLowParts];
    for (int p = 0; p < kLowParts; ++p) {
      packed[p] = Few::load(weights + (at + c) * 64 + p * (64 / kLowParts));
      for (int r = 0; r < R; ++r) block[r][p] = Few::begin(acc[c][r][p]);
    }
    unroll<kQuads>([&](auto quad) GLZ_UNROLLED {
      constexpr int q = decltype(quad)::value;
      typename Few::Vec n[kLowParts];
      for (int p = 0; p < kLowParts; ++p) n[p] = Few::unpack(packed[p], W * q, kMask);
      for (int r = 0; r < R; ++r) {
        const auto word = Few::broadcast(x[r] + (at + c) * (4 * kQuads) + 4 * q);
        for (int p = 0; p < kLowParts; ++p) block[r][p] = Few::add(block[r][p], word, n[p]);
      }
    });
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < kLowParts; ++p) acc[c][r][p] = Few::end(acc[c][r][p], block[r][p]);
    }
  });
}

template <int W, int R>
GLZ_INLINE void multiply_panel(const uint8_t* const (&x)[R], const uint8_t* weights, int64_t blocks,
                               LowAcc (&sum)[R][kLowParts]) {
  constexpr int C = Few::kRows / R;
  LowAcc acc[C][R][kLowParts];
  for (auto& chain : acc) {
    for (auto& row : chain) {
      for (LowAcc& part : row) part = Few::zero();
    }
  }
  int64_t at = 0;
  for (; at + C <= blocks; at += C) add_blocks<W, R, C>(x, weights, at, acc);
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < kLowParts; ++p) {
      sum[r][p] = acc[0][r][p];
      for (int c = 1; c < C; ++c) sum[r][p] = Few::sum(sum[r][p], acc[c][r][p]);
    }
  }
  for (; at < blocks; ++at) {
    LowAcc last[1][R][kLowParts];
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < kLowParts; ++p) last[0][r][p] = sum[r][p];
    }
    add_blocks<W, R, 1>(x, weights, at, last);
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < kLowParts; ++p) sum[r][p] = last[0][r][p];
    }
  }
}

struct LowJob {
  const LowBitsHeader* header;
  const uint8_t* input;
  int64_t stride;
  const int32_t* row_sums;  // of row 0 on
  Epilogue epilogue;
};

template <int W, int R>
GLZ_INLINE void low_tile(const LowJob& job, int64_t row, int64_t panel) {
  const LowBitsHeader& h = *job.header;
  const auto* base = reinterpret_cast<const uint8_t*>(job.header);
  const uint8_t* x[R];
  for (int r = 0; r < R; ++r) x[r] = job.input + (row + r) * job.stride;
  LowAcc acc[R][kLowParts];
  multiply_panel<W, R>(x, base + h.panels + panel * h.blocks * 64, h.blocks, acc);
  const int64_t channel = panel * kLowBitsPanel, left = h.channels - channel;
  const int64_t count = left < kLowBitsPanel ? left : kLowBitsPanel;
  const auto* correction = reinterpret_cast<const int32_t*>(base + h.corrections) + channel;
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < kLowParts; ++p) {
      if (W == 1) acc[r][p] = Few::sum(acc[r][p], acc[r][p]);  // the factor is 2
      const LowAcc of_row = Few::broadcast_sum(-h.offset * job.row_sums[row + r]);
      const LowAcc of_channel = Few::load_sums(correction + p * Vector::kLanes);
      acc[r][p] = Few::sum(acc[r][p], Few::sum(of_row, of_channel));
    }
    finish_row<true>(job.epilogue, acc[r], row + r, channel, count);
  }
}

template <int W>
void low_run(const LowJob& job, int64_t row_begin, int64_t row_end, int64_t panel_begin,
             int64_t panel_end) {
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    int64_t row = row_begin;
    for (; row + Few::kRows <= row_end; row += Few::kRows) low_tile<W, Few::kRows>(job, row, panel);
    if constexpr (Few::kRows > 4) {
      for (; row + 4 <= row_end; row += 4) low_tile<W, 4>(job, row, panel);
    }
    for (; row + 2 <= row_end; row += 2) low_tile<W, 2>(job, row, panel);
    for (; row < row_end; ++row) low_tile<W, 1>(job, row, panel);
  }
}

static size_t workspace_bytes(const ConvGeometry& g) {
  return static_cast<size_t>(g.rows()) * sizeof(int32_t);
}

static void run(const ConvS8Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
                int64_t panel_end) {
  auto* sums = static_cast<int32_t*>(a.workspace);
  LowJob job = {static_cast<const LowBitsHeader*>(a.packed), a.input, a.geometry.stride_c, sums,
                a.epilogue};
  clamp_to_codes(&job.epilogue);
  for (int64_t row = row_begin; row < row_end; ++row) {
    const uint8_t* x = a.input + row * job.stride;
    int32_t sum = 0;
    for (int64_t k = 0; k < job.header->inputs; ++k) sum += x[k];
    sums[row] = sum;
  }
  switch (job.header->width) {
    case 1:
      return low_run<1>(job, row_begin, row_end, panel_begin, panel_end);
    case 2:
      return low_run<2>(job, row_begin, row_end, panel_begin, panel_end);
    default:
      return low_run<4>(job, row_begin, row_end, panel_begin, panel_end);
  }
}
