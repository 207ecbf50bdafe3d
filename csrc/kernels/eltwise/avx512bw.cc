// 512-bit vectors.
#include "contract.h"

#include <immintrin.h>

#include <cstring>

namespace glz::avx512bw {
namespace {

#include "../vector/vector512.inl.h"

#include "eltwise.inl.h"
#include "transpose.inl.h"

// The table as 2 x 64 words, which vpermi2w looks up by bits 1 to 6 of a code; bit 7 chooses the
// half and bit 0 the byte.
struct Table {
  __m512i words[4];
  explicit Table(const uint8_t* bytes) {
    for (int i = 0; i < 4; ++i) words[i] = _mm512_loadu_si512(bytes + 64 * i);
  }

  // The entries of the codes in the low bytes of 32 words.
  __m512i at(__m512i codes) const {
    const __m512i index = _mm512_srli_epi16(codes, 1);
    const __m512i low = _mm512_permutex2var_epi16(words[0], index, words[1]);
    const __m512i high = _mm512_permutex2var_epi16(words[2], index, words[3]);
    const __mmask32 upper = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(0x80));
    const __m512i pair = _mm512_mask_blend_epi16(upper, low, high);
    const __mmask32 odd = _mm512_test_epi16_mask(codes, _mm512_set1_epi16(1));
    return _mm512_mask_srli_epi16(pair, odd, pair, 8);
  }
};

void lookup(const uint8_t* codes, const uint8_t* table, uint8_t* out, int64_t count) {
  const Table entries(table);
  for (int64_t i = 0; i < count; i += 64) {
    const __mmask64 valid = count - i >= 64 ? ~0ull : (1ull << (count - i)) - 1;
    const __m512i x = _mm512_maskz_loadu_epi8(valid, codes + i);
    const __m512i even = entries.at(Vector::low_bytes(x)), odd = entries.at(Vector::high_bytes(x));
    const __m512i bytes =
        _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, even, _mm512_slli_epi16(odd, 8));
    _mm512_mask_storeu_epi8(out + i, valid, bytes);
  }
}

}  // namespace

extern const EltwiseKernel eltwise;
const EltwiseKernel eltwise = {quantize,
                               dequantize,
                               lookup,
                               add_u8,
                               mul_u8,
                               add_f32,
                               mix,
                               scale_shift,
                               planes_to_pixels_f32,
                               planes_to_pixels_u8,
                               pixels_to_planes_f32};

}  // namespace glz::avx512bw
