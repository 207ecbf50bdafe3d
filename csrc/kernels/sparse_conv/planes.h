// Activations in planes of words: a word of 32 bits holds four consecutive int8 channels of a pixel
// (codes, as in layout.h) or one float32 channel, and word w of pixel row r = (n * H + h) * W + w'
// is at 4 * (w * pitch + r) bytes. One vector load is then one word of many pixels, and a batch is
// more pixels. Whole vectors are read and written: pitch is a multiple of kPixelAlign; what lies
// past the last row or channel is anything.
#pragma once

#include <cstdint>

namespace glz {

constexpr int64_t kPixelAlign = 16;
constexpr int64_t kPlanePanel = 16;

// Pixels between two planes. A tile reads a few lines of each plane: a pitch of an odd number of
// cache lines spreads them over all sets of the caches.
static inline int64_t plane_pitch(int64_t rows) {
  const int64_t lines = (rows + kPixelAlign - 1) / kPixelAlign;
  return (lines | 1) * kPixelAlign;
}

// Which of a convolution's tensors are in planes: their pitch; 0: pixels x channels.
struct PlanePitches {
  int64_t input = 0;
  int64_t output = 0;
  int64_t residual = 0;  // must be in planes if the output is, and may be if its channels are full
                         // panels (kPlanePanel) and it has the input's type
};

}  // namespace glz
