// Products of single pixels under one tap: no pixels share a word, so words are streamed, four at a
// time, and the pixel's own words are gathered from the cache. Included after job.inl.h.

GLZ_INLINE __m128i four_words(const char* x, uint64_t index) {
  const auto word = [=](int i) GLZ_UNROLLED {
    int32_t value;
    memcpy(&value, x + 4 * (index >> (16 * i) & 0xffff), sizeof value);
    return value;
  };
  return _mm_set_epi32(word(3), word(2), word(1), word(0));
}

// What streams is used once: the hardware alone does not read far enough ahead.
GLZ_INLINE void prefetch_words(const uint32_t* words, const uint16_t* index) {
  constexpr int64_t kAhead = 8192;
  __builtin_prefetch(reinterpret_cast<const char*>(words) + kAhead);
  __builtin_prefetch(reinterpret_cast<const char*>(index) + kAhead / 2);
}

// The sum of one channel's words; count is even.
GLZ_INLINE uint32_t pixel_sum(const uint32_t* words, const uint16_t* index, int64_t count,
                              const char* x) {
  Kernel::Small sums[4];
  unroll<4>([&](auto k) GLZ_UNROLLED { sums[k.value] = Kernel::small_zero(); });
  const auto four = [=](int64_t i) GLZ_UNROLLED {
    uint64_t places;
    memcpy(&places, index + i, sizeof places);
    return four_words(x, places);
  };
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    prefetch_words(words + i, index + i);
    unroll<4>([&](auto k) GLZ_UNROLLED {
      const int64_t at = i + 4 * k.value;
      const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + at));
      sums[k.value] = Kernel::small_mul_add(sums[k.value], four(at), w);
    });
  }
  for (; i + 4 <= count; i += 4) {
    const __m128i w = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + i));
    sums[0] = Kernel::small_mul_add(sums[0], four(i), w);
  }
  if (i < count) {  // two
    uint32_t places;
    memcpy(&places, index + i, sizeof places);
    const __m128i w = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(words + i));
    const __m128i x2 = _mm_move_epi64(four_words(x, places));
    sums[1] = Kernel::small_mul_add(sums[1], x2, w);
  }
  return Kernel::small_total(
      Kernel::small_add(Kernel::small_add(sums[0], sums[1]), Kernel::small_add(sums[2], sums[3])));
}

// The channels [first, end) of a block, in the slice whose words are at x.
void multiply_pixel(const Job& job, int64_t slice, int64_t first, int64_t end, const char* x,
                    uint32_t* sums) {
  const SparseView w = job.weights;
  const int64_t at = slice * sparse_pairs(job.g) + first / 2;
  for (int64_t i = 0; i < parts(end - first, 2) * 2; ++i) {
    const int32_t* begin = w.begin + at + i / 2;
    const int64_t count = (begin[1] - begin[0]) / 2, from = begin[0] + i % 2 * count;
    const int64_t channel = w.order[2 * at + i];
    const uint32_t before =
        slice == 0 ? Kernel::small_start(w.start[first + channel]) : sums[channel];
    sums[channel] = Kernel::small_sum(before, pixel_sum(w.words + from, w.index + from, count, x));
  }
}

void finish_pixel(const Job& job, const char* sums, int64_t row, int64_t first, int64_t end) {
  for (int64_t c = first; c < end; c += Vector::kLanes) {
    const Kernel::Acc acc[1] = {Kernel::from_bits(Pixels::load(sums + 4 * (c - first)))};
    finish_row<Kernel::kInteger>(job.e, acc, row, c, least(Vector::kLanes, end - c));
  }
}

// Pixels x channels only.
void run_pixels(const Job& job, int64_t row_begin, int64_t row_end) {
  const int64_t from = job.panel_begin * kPanel;
  const int64_t to = least(job.g.out_channels, job.panel_end * kPanel);
  const SparseDepth& depth = job.depth;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const char* pixel = job.input + row * job.pixel_bytes;
    for (int64_t first = from; first < to; first += kSparseBlock) {
      const int64_t end = least(to, first + kSparseBlock);
      for (int64_t slice = 0; slice < depth.slices; ++slice) {
        const int64_t begin = depth.begin(slice), count = depth.begin(slice + 1) - begin;
        if (first == from || depth.slices > 1) {
          memcpy(job.tile, pixel + 4 * begin, static_cast<size_t>(4 * count));
        }
        multiply_pixel(job, slice, first, end, job.tile, reinterpret_cast<uint32_t*>(job.sums));
      }
      finish_pixel(job, job.sums, row, first, end);
    }
  }
}
