#include "convert.h"

#include <cstring>

#include "../base/check.h"
#include "../kernels/sparse_conv/planes.h"
#include "rows.h"

namespace glz {
namespace {

// A plain tensor whose channels are innermost anyway is as good as rows of pixels.
View as_rows(View view, const View& other) {
  if (view.layout == Layout::kPlain && other.layout == Layout::kPixels) {
    view.n = other.rows();
    view.c = view.stride = other.c;
  }
  return view;
}

class ConvertStep : public Step {
 public:
  View from, to;
  float scale = 0.0f;
  const EltwiseKernel* eltwise = nullptr;

 protected:
  // Users see int8 in two's complement, and uint8 as it is.
  uint8_t flip() const { return from.foreign_codes != to.foreign_codes ? zero_byte(from.type) : 0; }
};

// Both sides have the same rows of `c` elements.
class RowsStep final : public ConvertStep {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const char* source = context.at(from.ref);
    char* target = context.at(to.ref);
    rows.run(task, tasks, [&](int64_t row, int64_t column, int64_t count) {
      convert(source + (row * from.stride + column) * from.element_bytes(),
              target + (row * to.stride + column) * to.element_bytes(), count);
    });
  }

  Rows rows;

 private:
  void convert(const char* source, char* target, int64_t count) const {
    const auto* codes = reinterpret_cast<const uint8_t*>(source);
    if (from.type == to.type) {
      std::memcpy(target, source, count * from.element_bytes());
      auto* bytes = reinterpret_cast<uint8_t*>(target);
      if (const uint8_t mask = flip(); mask != 0) {
        for (int64_t i = 0; i < count; ++i) bytes[i] ^= mask;
      }
    } else if (holds_codes(to.type)) {
      eltwise->quantize(reinterpret_cast<const float*>(source), 1.0f / scale,
                        reinterpret_cast<uint8_t*>(target), to.type, count);
    } else {
      eltwise->dequantize(codes, from.type, scale, reinterpret_cast<float*>(target), count);
    }
  }
};

// Between planes (N, C, H*W) and pixels x channels; a task is a part of an image's pixels.
class TransposeStep final : public ConvertStep {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const View& pixels = from.layout == Layout::kPixels ? from : to;
    const int64_t hw = pixels.h * pixels.w, image = task / parts;
    const Range blocks = part_of(ceil_div(hw, kPixelAlign), task % parts, parts);
    const int64_t first = blocks.begin * kPixelAlign;
    const int64_t count = std::min(blocks.end * kPixelAlign, hw) - first;
    const char* source = context.at(from.ref) + offset(from, pixels.c, image, first, hw);
    char* target = context.at(to.ref) + offset(to, pixels.c, image, first, hw);
    if (!by_kernel(source, target, pixels, count, hw)) {
      by_element(source, target, pixels, count, hw);
    }
  }

  int64_t parts = 1;  // of an image

 private:
  // Bytes to pixel `first` of an image, in the first of its `c` planes if they are planes.
  static int64_t offset(const View& view, int64_t c, int64_t image, int64_t first, int64_t hw) {
    const bool in_pixels = view.layout == Layout::kPixels;
    const int64_t elements =
        in_pixels ? (image * hw + first) * view.stride : image * hw * c + first;
    return elements * view.element_bytes();
  }

  bool by_kernel(const char* source, char* target, const View& pixels, int64_t count,
                 int64_t hw) const {
    if (from.type != ElementType::kF32) return false;
    const float* x = reinterpret_cast<const float*>(source);
    // The kernels write pad lanes up to the stride: not into a neighbour's slice.
    if (from.layout == Layout::kPlain && !to.compact()) return false;
    if (from.layout == Layout::kPlain && to.type == ElementType::kF32) {
      eltwise->planes_to_pixels_f32(x, reinterpret_cast<float*>(target), count, pixels.c, hw,
                                    pixels.stride);
    } else if (from.layout == Layout::kPlain) {
      eltwise->planes_to_pixels_u8(x, 1.0f / scale, reinterpret_cast<uint8_t*>(target), to.type,
                                   count, pixels.c, hw, pixels.stride);
    } else if (to.type == ElementType::kF32) {
      eltwise->pixels_to_planes_f32(x, reinterpret_cast<float*>(target), count, pixels.c, hw,
                                    pixels.stride);
    } else {
      return false;
    }
    return true;
  }

  void by_element(const char* source, char* target, const View& pixels, int64_t count,
                  int64_t hw) const {
    const auto* x = reinterpret_cast<const float*>(source);
    const auto* codes = reinterpret_cast<const uint8_t*>(source);
    auto* y = reinterpret_cast<float*>(target);
    auto* bytes = reinterpret_cast<uint8_t*>(target);
    const uint8_t mask = flip();
    if (holds_codes(from.type) && holds_codes(to.type)) {
      each(pixels, count, hw, [=](int64_t i, int64_t j) { bytes[j] = codes[i] ^ mask; });
    } else if (holds_codes(from.type)) {
      const int zero = zero_byte(from.type);
      each(pixels, count, hw, [=](int64_t i, int64_t j) {
        y[j] = static_cast<float>(static_cast<int>(codes[i]) - zero) * scale;
      });
    } else if (holds_codes(to.type)) {
      each(pixels, count, hw, [=](int64_t i, int64_t j) {
        eltwise->quantize(x + i, 1.0f / scale, bytes + j, to.type, 1);
      });
    } else {
      each(pixels, count, hw, [=](int64_t i, int64_t j) { y[j] = x[i]; });
    }
  }

  template <typename Fn>
  void each(const View& pixels, int64_t count, int64_t hw, Fn fn) const {
    const bool from_pixels = from.layout == Layout::kPixels;
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t c = 0; c < pixels.c; ++c) {
        const int64_t in_pixels = p * pixels.stride + c, in_plane = c * hw + p;
        fn(from_pixels ? in_pixels : in_plane, from_pixels ? in_plane : in_pixels);
      }
    }
  }
};

// Between planes of words and pixels x channels, of one type.
class PlanesStep final : public ConvertStep {
 public:
  void run(const RunContext& context, int64_t task, int) const override {
    const bool gathers = to.layout == Layout::kPixels;
    const View &pixels = gathers ? to : from, &planes = gathers ? from : to;
    char* base = context.at(pixels.ref);
    char* words = context.at(planes.ref);
    const int64_t count = ceil_div(pixels.c, planes.in_word());
    const Range blocks = part_of(ceil_div(pixels.rows(), kPixelAlign), task, tasks);
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int64_t end = std::min((block + 1) * kPixelAlign, pixels.rows());
      for (int64_t word = 0; word < count; ++word) {
        for (int64_t row = block * kPixelAlign; row < end; ++row) {
          char* in_pixels = base + row * pixels.stride * pixels.element_bytes() + 4 * word;
          char* in_plane = words + 4 * (word * planes.stride + row);
          std::memcpy(gathers ? in_pixels : in_plane, gathers ? in_plane : in_pixels, 4);
        }
      }
    }
  }
};

class ClearPadsStep final : public Step {
 public:
  explicit ClearPadsStep(const View& view) : view_(view) {}
  void run(const RunContext& context, int64_t, int) const override {
    float* x = context.at<float>(view_.ref);
    const int64_t pads = channel_stride(view_.c) - view_.c;
    for (int64_t row = 0; row < view_.rows(); ++row) {
      for (int64_t i = 0; i < pads; ++i) x[row * view_.stride + view_.c + i] = 0.0f;
    }
  }

 private:
  View view_;
};

template <typename ConvertKind>
std::unique_ptr<ConvertKind> filled(const View& from, const View& to, float scale,
                                    const KernelTable& table, const char* name) {
  auto step = std::make_unique<ConvertKind>();
  step->from = from;
  step->to = to;
  step->scale = scale;
  step->eltwise = &table.eltwise;
  step->kernel = name;
  step->bytes = from.bytes() + to.bytes();
  return step;
}

}  // namespace

std::unique_ptr<Step> make_convert(const View& from, const View& to, const TensorType& type,
                                   const KernelTable& table, int threads) {
  GLZ_CHECK(from.type == to.type || !(holds_codes(from.type) && holds_codes(to.type)), kUnsupported,
            "a step would turn codes into others without their scales");
  const char* name = from.type == to.type   ? "copy"
                     : holds_codes(to.type) ? "quantize"
                                            : "dequantize";
  const double nanoseconds = (from.bytes() + to.bytes()) / kBytesPerNanosecond;
  if (from.layout == Layout::kPlanes || to.layout == Layout::kPlanes) {
    auto step = filled<PlanesStep>(from, to, type.scale, table, "planes");
    step->tasks = row_tasks(ceil_div(from.rows(), kPixelAlign), threads, nanoseconds);
    return step;
  }
  const View& pixels = from.layout == Layout::kPixels ? from : to;
  if (from.layout == to.layout || pixels.h * pixels.w == 1) {
    auto step = filled<RowsStep>(as_rows(from, to), as_rows(to, from), type.scale, table, name);
    step->rows = Rows({&step->from, &step->to});
    step->tasks = step->rows.tasks(threads, nanoseconds);
    return step;
  }
  auto step = filled<TransposeStep>(from, to, type.scale, table, name);
  const int64_t blocks = ceil_div(pixels.h * pixels.w, kPixelAlign);
  if (pixels.n < threads) step->parts = row_tasks(blocks, threads, nanoseconds / pixels.n);
  step->tasks = pixels.n * step->parts;
  return step;
}

std::unique_ptr<Step> make_clear_pads(const View& view) {
  auto step = std::make_unique<ClearPadsStep>(view);
  step->kernel = "clear_pads";
  step->bytes = view.rows() * (channel_stride(view.c) - view.c) * 4;
  return step;
}

}  // namespace glz
