// Part of implicit_gemm.inl.h: copies of the input in the workspace, as Kernel::Staged.

using Input = typename Kernel::Input;
using Staged = typename Kernel::Staged;

GLZ_INLINE void fill(const ConvGeometry& g, Staged* to, int64_t count) {
  const Staged pad = Kernel::pad(g.zero);
  for (int64_t i = 0; i < count; ++i) to[i] = pad;
}

// `count` pixels of g.channels elements, stride elements apart, become consecutive. May write up to
// 32 bytes past the last one and read as much past the input.
void stage_pixels(const ConvGeometry& g, const Input* from, int64_t stride, int64_t count,
                  Staged* to) {
  const int64_t channels = g.channels;
  if (stride == channels) {
    Kernel::stage(from, to, count * channels, g.zero);
  } else if (!Kernel::stage_short(from, to, stride, channels, count, g.zero)) {
    for (int64_t i = 0; i < count; ++i)
      Kernel::stage(from + i * stride, to + i * channels, channels, g.zero);
  }
}

// Row `padded` of the padded images, counted through all images.
void stage_image_row(const ConvGeometry& g, const Input* input, int64_t padded, Staged* to) {
  const int64_t image = padded / padded_rows(g), row = padded % padded_rows(g) - g.pad_top;
  const int64_t columns = padded_columns(g);
  const int64_t left = least(g.pad_left, columns), inside = most(0, least(g.w, columns - left));
  if (row < 0 || row >= g.h) return fill(g, to, columns * g.channels);
  fill(g, to, left * g.channels);
  stage_pixels(g, input + (image * g.h + row) * g.w * g.stride_c, g.stride_c, inside,
               to + left * g.channels);
  fill(g, to + (left + inside) * g.channels, (columns - left - inside) * g.channels);
}

// Everything that output rows [begin, end) read.
View stage_images(const ConvGeometry& g, const Plan& plan, const Input* input, int64_t begin,
                  int64_t end, char* stage) {
  const int64_t rows = padded_rows(g), pitch = staged_row_bytes(g, plan);
  const int64_t top = begin / g.ow, bottom = (end - 1) / g.ow;
  const int64_t first = top / g.oh * rows + top % g.oh * g.sh;
  const int64_t last = bottom / g.oh * rows + bottom % g.oh * g.sh + (g.kh - 1) * g.dh;
  for (int64_t row = first; row <= last; ++row) {
    stage_image_row(g, input, row, reinterpret_cast<Staged*>(stage + (row - first) * pitch));
  }
  return {stage, rows, first, pitch, staged_pixel_bytes(g)};
}

// Pixel of output row `index` of a 1x1 convolution; null outside the image.
GLZ_INLINE const Input* one_tap_pixel(const ConvGeometry& g, const Input* input, int64_t index) {
  const int64_t image = index / (g.oh * g.ow), rest = index % (g.oh * g.ow);
  const int64_t row = rest / g.ow * g.sh - g.pad_top, column = rest % g.ow * g.sw - g.pad_left;
  if (row < 0 || row >= g.h || column < 0 || column >= g.w) return nullptr;
  return input + ((image * g.h + row) * g.w + column) * g.stride_c;
}

void stage_one_tap(const ConvGeometry& g, const Plan& plan, const Input* input, int64_t begin,
                   int64_t end, char* stage) {
  const int64_t pitch = staged_row_bytes(g, plan);
  for (int64_t index = begin; index < end; ++index, stage += pitch) {
    Staged* to = reinterpret_cast<Staged*>(stage);
    const Input* from = one_tap_pixel(g, input, index);
    if (from == nullptr) {
      fill(g, to, g.channels);
    } else {
      Kernel::stage(from, to, g.channels, g.zero);
    }
  }
}
