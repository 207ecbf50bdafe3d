// The epilogue of a panel into pixels x channels. Included after finish_planes.inl.h.

// Every case that there is: the sums of one pixel, gathered.
__attribute__((noinline)) void finish_any(const Job& job, const Chunk& chunk,
                                          const char* panel_sums, int64_t panel, int64_t count) {
  for (int64_t p = 0; p < chunk.rows; ++p) {
    for (int64_t c = 0; c < count; c += Vector::kLanes) {
      const int64_t valid = least(Vector::kLanes, count - c);
      const Pixels::I sums = Pixels::load_column(panel_sums + c * kPitch + 4 * p, kPitch, valid);
      const Kernel::Acc acc[1] = {Kernel::from_bits(sums)};
      finish_row<Kernel::kInteger>(job.e, acc, chunk.row + p, panel * kPanel + c, valid);
    }
  }
}

// The first `bytes` of a line of each pixel.
void copy_lines(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t pixels,
                int64_t bytes) {
  for (int64_t p = 0; p < pixels; ++p, from += from_stride, to += to_stride) {
    for (int64_t b = 0; b < bytes; b += Vector::kBytes) {
      Vector::store_bytes(to + b, Vector::load_bytes(from + b), bytes - b);
    }
  }
}

// Four words of residual from channel `first` on, of one vector of the chunk.
GLZ_INLINE void load_residual_words(const Job& job, const Chunk& chunk, int64_t v, int64_t first,
                                    const char* added, Pixels::I (&out)[4]) {
  if (job.pitch.residual == 0) {
    return Pixels::load_words([=](int p) { return added + p * kLineBytes; }, out);
  }
  const int64_t plane = first / kPerWord<Kernel::Weight>;
  const char* from = static_cast<const char*>(job.e.residual) + v * kBytes +
                     4 * (plane * job.pitch.residual + chunk.row);
  for (int w = 0; w < 4; ++w) out[w] = Pixels::load(from + 4 * w * job.pitch.residual);
}

// An activation between layers: a full panel, to its place `at` in the lines.
template <bool kResidual, bool kTame>
void finish_panel(const Job& job, const Chunk& chunk, const char* sums, int64_t panel, int64_t at) {
  constexpr int64_t kGroup = Kernel::kInteger ? 16 : 4;  // channels in four words
  const Constants constants = job.constants;
  for (int64_t v = 0; v < parts(chunk.rows, kLanes); ++v) {
    const int64_t place = v * kLanes * kLineBytes + at;
    char* out = job.lines + place;
    const char* added = job.added + place;
    for (int64_t first = 0; first < kPanel; first += kGroup, out += 16, added += 16) {
      Pixels::I residual[4], words[4];
      if (kResidual) {
        load_residual_words(job, chunk, v, panel * kPanel + first, added, residual);
      }
      for (int w = 0; w < 4; ++w) {
        const int64_t channel = first + w * (kGroup / 4);
        words[w] =
            finish_word<kResidual, kTame>(constants, Factors(job.e, panel * kPanel + channel),
                                          sums + channel * kPitch + v * kBytes, residual[w]);
      }
      Pixels::store_words(words, out, kLineBytes);
    }
  }
}

void finish_pixels(const Job& job, const Chunk& chunk, const char* sums, int64_t panel) {
  const Epilogue& e = job.e;
  const int64_t count = least(kPanel, job.g.out_channels - panel * kPanel);
  if (!job.common || count != kPanel) return finish_any(job, chunk, sums, panel, count);
  constexpr int64_t kElement = Kernel::kInteger ? 1 : 4;
  const int64_t in_line = (panel - job.panel_begin) % kLinePanels;
  const int64_t full = least(job.panel_end, job.g.out_channels / kPanel);
  if (e.residual != nullptr && job.pitch.residual == 0 && in_line == 0) {
    const int64_t stride = e.residual_stride * kElement;
    copy_lines(static_cast<const char*>(e.residual) + chunk.row * stride + panel * kPanelBytes,
               stride, job.added, kLineBytes, chunk.rows,
               least(kLinePanels, full - panel) * kPanelBytes);
  }
  const auto finish = e.residual != nullptr
                          ? (job.tame ? finish_panel<true, true> : finish_panel<true, false>)
                          : (job.tame ? finish_panel<false, true> : finish_panel<false, false>);
  finish(job, chunk, sums, panel, in_line * kPanelBytes);
  if (in_line + 1 == kLinePanels || panel + 1 == full) {
    const int64_t stride = e.output_stride * kElement;
    copy_lines(job.lines, kLineBytes,
               static_cast<char*>(e.output) + chunk.row * stride + (panel - in_line) * kPanelBytes,
               stride, chunk.rows, (in_line + 1) * kPanelBytes);
  }
}
