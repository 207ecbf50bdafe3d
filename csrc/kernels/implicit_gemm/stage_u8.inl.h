// Members of a Kernel that multiplies the input's bytes as they are: the accumulators start at
// -zero * sum(w).

using Input = uint8_t;
using Staged = uint8_t;
using Weight = int8_t;
static constexpr int64_t kWordElems = 4;
static constexpr bool kInteger = true, kAlwaysStage = false, kCompensated = true;
static Staged pad(int64_t zero) { return static_cast<Staged>(zero); }

static int32_t load_word(const char* p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return word;
}

static void stage(const uint8_t* from, uint8_t* to, int64_t count, int64_t) {
  memcpy(to, from, static_cast<size_t>(count));
}

// Few channels of pixels with gaps between: whole vectors, each overwriting the tail of the one
// before. False if there are too many channels for that.
static bool stage_short(const uint8_t* from, uint8_t* to, int64_t stride, int64_t channels,
                        int64_t count, int64_t) {
  if (channels > 16) return false;
  int64_t i = 0;
  if (channels == 3 && stride == 4) {
    const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (; i + 4 <= count; i += 4) {
      const __m128i four = _mm_loadu_si128((const __m128i*)(from + 4 * i));
      _mm_storeu_si128((__m128i*)(to + 3 * i), _mm_shuffle_epi8(four, order));
    }
  }
  for (; i < count; ++i) {
    _mm_storeu_si128((__m128i*)(to + i * channels),
                     _mm_loadu_si128((const __m128i*)(from + i * stride)));
  }
  return true;
}
