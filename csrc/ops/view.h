// Where a tensor is in memory and how it is laid out there.
#pragma once

#include "../kernels/epilogue.h"
#include "../kernels/layout.h"
#include "types.h"

namespace glz {

// kPixels: pixels x channels, as kernels/layout.h. kPlain: row-major, no gaps. kPlanes: planes of
// words, as kernels/sparse_conv/planes.h. Codes are stored as kernels/layout.h says in all.
enum class Layout : uint8_t { kPixels, kPlain, kPlanes };

// A place relative to a storage; storages get their addresses when a plan runs (RunContext).
struct Ref {
  int32_t storage = -1;
  int64_t offset = 0;  // bytes
};

struct View {
  Ref ref;
  Layout layout = Layout::kPlain;
  ElementType type = ElementType::kF32;
  bool foreign_codes = false;  // int8 as users see it: two's complement
  bool sliced = false;         // some channels of a wider tensor: what is between is not ours
  // kPixels: n images of h x w pixels of c channels, `stride` elements apart.
  // kPlain: n = h = w = 1, c = stride = the number of elements.
  // kPlanes: the same sizes as in pixels; `stride` is the pitch, in pixels.
  int64_t n = 1, h = 1, w = 1, c = 0, stride = 0;

  int64_t rows() const { return n * h * w; }
  int64_t element_bytes() const { return holds_codes(type) ? 1 : 4; }
  int64_t bytes() const {
    if (layout == Layout::kPlanes) return (c + in_word() - 1) / in_word() * stride * 4;
    return rows() * stride * element_bytes();
  }
  int64_t in_word() const { return 4 / element_bytes(); }
  // Rows follow each other with nothing but pad lanes between them.
  bool compact() const {
    return layout == Layout::kPlain ||
           (layout == Layout::kPixels && !sliced && stride == channel_stride(c));
  }
  // The elements are in row-major order of the logical shape, without gaps.
  bool row_major() const {
    return layout == Layout::kPlain ||
           (layout == Layout::kPixels && !sliced && stride == c && (h * w == 1 || c == 1));
  }
};

// Channels [begin, begin + count) of a view in pixels.
inline View channel_slice(View view, int64_t begin, int64_t count) {
  view.ref.offset += begin * view.element_bytes();
  view.c = count;
  view.sliced = true;
  return view;
}

// Ranks 4 and 2 are kept as pixels x channels, other ranks plain.
inline bool keeps_pixels(const TensorType& type) { return type.rank() == 4 || type.rank() == 2; }

inline ElementType element_type(DType dtype) {
  return dtype == DType::kS8   ? ElementType::kS8
         : dtype == DType::kU8 ? ElementType::kU8
                               : ElementType::kF32;
}

// A view of a tensor of that type, not placed anywhere yet.
View plain_view(const TensorType& type, ElementType element);
View pixel_view(const TensorType& type, ElementType element);  // rank 4 or 2
View plane_view(const TensorType& type, ElementType element);  // rank 4
inline View home_view(const TensorType& type) {
  const ElementType element = element_type(type.dtype);
  return keeps_pixels(type) ? pixel_view(type, element) : plain_view(type, element);
}

}  // namespace glz
