// int8 convolution and matrix product as one implicit GEMM.
//
// Output row r is pixel (n, oh, ow); its input is kh*kw taps of `channels` consecutive bytes;
// output column c is an output channel of this group. A matrix product A[M,K] B[N,K]^T is the same
// with h = 1, w = M, kh = kw = 1, channels = K. The accumulator is exact in int32 on every ISA:
//
//   acc[r][c] = sum over taps and channels of (a - zero) * weight,  a = zero outside the image
#pragma once

#include <cstddef>
#include <cstdint>

#include "../epilogue.h"

namespace glz {

// Where the input pixels are. Shared by every convolution-like kernel.
struct ConvGeometry {
  int64_t n, h, w;            // input images, rows, columns
  int64_t channels;           // input channels of this group
  int64_t stride_c;           // input elements between pixels (>= channels; layout.h)
  int64_t kh, kw, sh, sw;     // kernel, stride
  int64_t pad_top, pad_left;  // the bottom and right follow from oh, ow
  int64_t dh, dw;             // dilation
  int64_t oh, ow;             // output rows, columns
  int64_t out_channels;       // of this group
  int64_t zero = 128;         // of codes: the stored byte of code 0 (layout.h)
  int64_t rows() const { return n * oh * ow; }
};

struct ConvS8Args {
  ConvGeometry geometry;
  const uint8_t* input;  // codes; points at this group's first channel of pixel 0
  const void* packed;    // from ConvS8Kernel::pack
  Epilogue epilogue;     // pointers already at this group's first channel
  void* workspace;       // workspace_bytes() of this thread's own, 64-byte aligned
};

// One row of the kernel table for one ISA.
struct ConvS8Kernel {
  // Bytes that pack() writes for this geometry (n, h, w, oh, ow do not matter to it; zero does).
  size_t (*packed_bytes)(const ConvGeometry&);
  // From the ISA-free layout [out_channels][kh][kw][channels], int8 in [-127, 127].
  void (*pack)(const ConvGeometry&, const int8_t* weights, void* packed);
  size_t (*workspace_bytes)(const ConvGeometry&);
  // Output channels are computed in panels of this many; parallel work splits at these.
  int64_t panel;
  // Rows per register tile; parallel work splits rows at multiples of it.
  int64_t tile_rows;
  // Computes output rows [row_begin, row_end) x panels [panel_begin, panel_end).
  void (*run)(const ConvS8Args&, int64_t row_begin, int64_t row_end, int64_t panel_begin,
              int64_t panel_end);
  // The limit of any kernel like this one: `rounds` of its multiply-accumulate instructions on
  // registers alone. Returns the multiply-accumulates done. Null: none (reference).
  int64_t (*limit)(int64_t rounds) = nullptr;
};

}  // namespace glz
