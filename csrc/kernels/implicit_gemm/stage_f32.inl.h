// Members of a Kernel that multiplies float32.

using Input = float;
using Staged = float;
using Weight = float;
static constexpr int64_t kWordElems = 1;
static constexpr bool kInteger = false, kAlwaysStage = false, kCompensated = false;
static Staged pad(int64_t) { return 0.0f; }

static float load_word(const char* p) {
  float word;
  memcpy(&word, p, sizeof word);
  return word;
}

static void stage(const float* from, float* to, int64_t count, int64_t) {
  memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

// Few channels of pixels with gaps between: whole vectors, each overwriting the tail of the one
// before. False if there are too many channels for that.
static bool stage_short(const float* from, float* to, int64_t stride, int64_t channels,
                        int64_t count, int64_t) {
  if (channels > 8) return false;
  for (int64_t i = 0; i < count; ++i, from += stride, to += channels) {
    _mm256_storeu_ps(to, _mm256_loadu_ps(from));
  }
  return true;
}
