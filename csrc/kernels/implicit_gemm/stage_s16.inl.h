// Members of a Kernel that multiplies 16-bit codes, exactly: vpmaddubsw would saturate. The zero
// byte is taken off while bytes are widened.

using Input = uint8_t;
using Staged = int16_t;
using Weight = int8_t;
static constexpr int64_t kWordElems = 2;
static constexpr bool kInteger = true, kAlwaysStage = true, kCompensated = false;
static Staged pad(int64_t) { return 0; }

static int32_t load_word(const char* p) {
  int32_t word;
  memcpy(&word, p, sizeof word);
  return word;
}

static void stage(const uint8_t* from, int16_t* to, int64_t count, int64_t zero) {
  const int16_t offset = static_cast<int16_t>(zero);
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<int16_t>(from[i] - offset);
}

// Few channels of pixels with gaps between: whole vectors, each overwriting the tail of the one
// before. False if there are too many channels for that.
static bool stage_short(const uint8_t* from, int16_t* to, int64_t stride, int64_t channels,
                        int64_t count, int64_t zero) {
  if (channels > 16) return false;
  const __m256i offset = _mm256_set1_epi16(static_cast<int16_t>(zero));
  for (int64_t i = 0; i < count; ++i, from += stride, to += channels) {
    const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i*)from));
    _mm256_storeu_si256((__m256i*)to, _mm256_sub_epi16(wide, offset));
  }
  return true;
}
