// upsample, resize_bilinear, adaptive_avg_pool: images to other sizes.
#include <algorithm>

#include "op_builders.h"
#include "plain_op.h"
#include "window.h"

namespace glz {
namespace {

class Resize : public PlainOp {
 public:
  using PlainOp::PlainOp;

  OutputTypes infer(const InputTypes& inputs) const override {
    const Shape& x = inputs[0]->shape;
    GLZ_CHECK(x.size() == 4, kShape,
              label_ << ": input of shape " << to_string(x) << " must have four axes (N, C, H, W)");
    return {output_type({x[0], x[1], out_size(0, x[2]), out_size(1, x[3])})};
  }

  void compute(const PlainCall& call) const override {
    const Shape &x = call.x_type[0]->shape, &y = call.y_type->shape;
    for (int64_t i = 0; i < x[0] * x[1]; ++i) {
      plane(call.x[0] + i * x[2] * x[3], x[2], x[3], call.y + i * y[2] * y[3], y[2], y[3]);
    }
  }

 protected:
  virtual int64_t out_size(int side, int64_t length) const = 0;
  virtual void plane(const float* x, int64_t h, int64_t w, float* y, int64_t oh,
                     int64_t ow) const = 0;
};

class Upsample final : public Resize {
 public:
  explicit Upsample(const Node& node) : Resize(node), factor_(node.integer("factor", 2)) {
    GLZ_CHECK(factor_ > 0 && factor_ < (int64_t{1} << 31), kGraph,
              label_ << ": factor is " << factor_ << ", must be positive");
  }

 protected:
  int64_t out_size(int, int64_t length) const override { return length * factor_; }
  void plane(const float* x, int64_t, int64_t w, float* y, int64_t oh, int64_t ow) const override {
    for (int64_t i = 0; i < oh; ++i) {
      for (int64_t j = 0; j < ow; ++j) y[i * ow + j] = x[i / factor_ * w + j / factor_];
    }
  }

 private:
  int64_t factor_;
};

class ResizeBilinear final : public Resize {
 public:
  explicit ResizeBilinear(const Node& node)
      : Resize(node),
        size_(read_sizes(node, "size", 2, 1, {})),
        align_corners_(node.flag("align_corners", true)) {}

 protected:
  int64_t out_size(int side, int64_t) const override { return size_[side]; }

  // The two cells that mix into output cell i, and the weight of the second.
  struct Mix {
    int64_t low, high;
    float weight;
  };
  Mix mix(int64_t i, int64_t length, int64_t size) const {
    float at = static_cast<float>(i);
    if (size == 1) {
      at = 0;  // MXNet takes the first cell in both conventions
    } else if (align_corners_) {
      at *= static_cast<float>(static_cast<double>(length - 1) / static_cast<double>(size - 1));
    } else {
      const float ratio =
          static_cast<float>(static_cast<double>(length) / static_cast<double>(size));
      at = std::max((at + 0.5f) * ratio - 0.5f, 0.0f);
    }
    const int64_t low = std::min(static_cast<int64_t>(at), length - 1);
    return {low, std::min(low + 1, length - 1), at - static_cast<float>(low)};
  }

  void plane(const float* x, int64_t h, int64_t w, float* y, int64_t oh,
             int64_t ow) const override {
    for (int64_t i = 0; i < oh; ++i) {
      const Mix r = mix(i, h, oh);
      for (int64_t j = 0; j < ow; ++j) {
        const Mix c = mix(j, w, ow);
        const auto column = [&](int64_t at) {
          return x[r.low * w + at] * (1 - r.weight) + x[r.high * w + at] * r.weight;
        };
        y[i * ow + j] = column(c.low) * (1 - c.weight) + column(c.high) * c.weight;
      }
    }
  }

 private:
  std::vector<int64_t> size_;
  bool align_corners_;
};

class AdaptiveAvgPool final : public Resize {
 public:
  explicit AdaptiveAvgPool(const Node& node)
      : Resize(node), size_(read_sizes(node, "output", 2, 1, {})) {}

 protected:
  int64_t out_size(int side, int64_t) const override { return size_[side]; }

  void plane(const float* x, int64_t h, int64_t w, float* y, int64_t oh,
             int64_t ow) const override {
    for (int64_t i = 0; i < oh; ++i) {
      const int64_t top = i * h / oh, bottom = ceil_div((i + 1) * h, oh);
      for (int64_t j = 0; j < ow; ++j) {
        const int64_t left = j * w / ow, right = ceil_div((j + 1) * w, ow);
        double sum = 0;
        for (int64_t r = top; r < bottom; ++r) {
          for (int64_t c = left; c < right; ++c) sum += x[r * w + c];
        }
        y[i * ow + j] =
            static_cast<float>(sum / static_cast<double>((bottom - top) * (right - left)));
      }
    }
  }

 private:
  std::vector<int64_t> size_;
};

}  // namespace

std::unique_ptr<Op> make_upsample(const Node& node) { return std::make_unique<Upsample>(node); }
std::unique_ptr<Op> make_resize_bilinear(const Node& node) {
  return std::make_unique<ResizeBilinear>(node);
}
std::unique_ptr<Op> make_adaptive_avg_pool(const Node& node) {
  return std::make_unique<AdaptiveAvgPool>(node);
}

}  // namespace glz
