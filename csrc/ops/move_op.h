// Base of operators that only move elements: float32 values, or codes with their scale.
#pragma once

#include "op.h"
#include "window.h"

namespace glz {

// Row-major elements of 1 (codes) or 4 bytes.
struct MoveCall {
  const char* x;
  char* y;
  int64_t element_bytes;
  int zero;  // the byte of code 0
  const Shape* x_shape;
  const Shape* y_shape;
  size_t output;
};

// Images, pixel by pixel: pixel (n, h, w) of the output is pixel ((n - before[0]) / factor[0], ...)
// of the input, or `fill` where there is none.
struct PixelMap {
  int64_t before[3] = {0, 0, 0};
  int64_t factor = 1;  // of h and w
  float fill = 0.0f;
};

class MoveOp : public Op {
 public:
  using Op::Op;
  Traits traits() const override {
    Traits traits;
    traits.strided_output = false;  // an output may be a view of the input
    return traits;
  }
  // Any ranks, row-major. Called for a part of the work only if tasks() says so.
  virtual void move(const MoveCall& call) const = 0;

 protected:
  static TensorType moved(const TensorType& x, Shape shape) {
    return {std::move(shape), x.dtype, x.scale};
  }
  void plan_plain(OpPlan& plan, size_t output = 0) const;
  // Input and output are images.
  void plan_pixels(OpPlan& plan, const PixelMap& map, size_t output = 0) const;
  // Channels [begin, begin + count) of pixels, where they are if that is possible.
  void plan_channels(OpPlan& plan, int64_t begin, int64_t count, size_t output = 0) const;
};

}  // namespace glz
