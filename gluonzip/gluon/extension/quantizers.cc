// Fake quantizers as operators of MXNet: what gluonzip/gluon/fake_quantize.py composes of built-in
// operators, in one pass over the values forward and one backward. The same float32 operations in
// the same order, so outputs and gradients of x are equal to the bit (build without contraction
// into fused multiply-adds). The gradient of a learned scale is a sum, here in double.
//
// gluonzip_fake_quantize(x, scale [, growth]): x rounded to codes in [low, high] times the scale.
// gluonzip_quantize_weight(w): the same with scale = max|w| / high; returns the scales as well.
//
// Attributes: low, high; axis, along which scales run (absent: one scale); clip (0: no value is out
// of range); learned (1: growth takes the gradient of gluonzip/gluon/learned_scale.py); per_sample
// (1: values that share a scale are counted in one index of axis 0).

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "mxnet/lib_api.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GLZ_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GLZ_CLONES
#endif

namespace {

using mxnet::ext::MX_FAIL;
using mxnet::ext::MX_SUCCESS;
using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using Attributes = std::unordered_map<std::string, std::string>;
using Shapes = std::vector<std::vector<unsigned int>>;

constexpr float kMagic = 12582912.0f;        // 1.5 * 2^23: beside it the spacing of floats is 1
constexpr float kSmallest = 1.1754944e-38f;  // the smallest normal float
constexpr int kLanes = 16;

int number(const Attributes& attributes, const char* key, int missing = 0) {
  const auto found = attributes.find(key);
  return found == attributes.end() ? missing : std::stoi(found->second);
}

// Codes, as floats.
struct Range {
  float low, high;
};

// Where values are not clipped, no code is out of range.
Range clipping(const Attributes& attributes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (number(attributes, "clip") == 0) return {-kInfinity, kInfinity};
  return {static_cast<float>(number(attributes, "low")),
          static_cast<float>(number(attributes, "high"))};
}

// The axis along which scales run, counted from the front; -1 where there is one scale.
int scale_axis(const Attributes& attributes, size_t rank) {
  if (attributes.count("axis") == 0) return -1;
  const int axis = number(attributes, "axis");
  return axis < 0 ? axis + static_cast<int>(rank) : axis;
}

// A tensor as (outer, groups, inner), one scale for each of the groups.
struct Layout {
  int64_t outer = 1, groups = 1, inner = 1;
  int64_t runs() const { return outer * groups; }
};

Layout layout(const Attributes& attributes, const std::vector<int64_t>& shape) {
  const int axis = scale_axis(attributes, shape.size());
  Layout result;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    (axis < 0 || i > axis ? result.inner : i < axis ? result.outer : result.groups) *= shape[i];
  }
  return result;
}

// ---------------------------------------------------------------- loops over a run of values
GLZ_CLONES void quantize(const float* __restrict__ x, float* __restrict__ y, int64_t n, float scale,
                         Range range) {
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i] * inverse;
    v = v > range.high ? range.high : v;
    v = v < range.low ? range.low : v;
    y[i] = ((v + kMagic) - kMagic) * scale;
  }
}

GLZ_CLONES void pass_gradient(const float* __restrict__ dy, const float* __restrict__ x,
                              float* __restrict__ dx, int64_t n, float scale, Range range) {
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i] * inverse;
    const float gradient = (dy[i] * scale) * inverse;
    const bool outside = (v > range.high) | (v < range.low);
    dx[i] = outside ? 0.0f : gradient;
  }
}

// One value of the next function.
inline float learned_term(float dy, float x, float* dx, float scale, float inverse, Range range) {
  const float v = x * inverse;
  float clipped = v > range.high ? range.high : v;
  clipped = clipped < range.low ? range.low : clipped;
  const float code = (clipped + kMagic) - kMagic;
  const bool outside = clipped != v;
  *dx = outside ? 0.0f : (dy * scale) * inverse;
  return dy * (outside ? code : code - v);
}

// As above; returns the sum of dy * (code - v) inside the range, of dy * code outside.
GLZ_CLONES double learned_gradient(const float* __restrict__ dy, const float* __restrict__ x,
                                   float* __restrict__ dx, int64_t n, float scale, Range range) {
  constexpr int64_t kChunk = 64 * kLanes;  // a chunk's sums in float, those of chunks in double
  const float inverse = 1.0f / scale;
  double total = 0;
  int64_t i = 0;
  while (i + kLanes <= n) {
    const int64_t end = n - i < kChunk ? n - kLanes : i + kChunk - kLanes;
    float sums[kLanes] = {};
    for (; i <= end; i += kLanes) {
      for (int j = 0; j < kLanes; ++j) {
        sums[j] += learned_term(dy[i + j], x[i + j], dx + i + j, scale, inverse, range);
      }
    }
    for (float sum : sums) total += sum;
  }
  for (; i < n; ++i) total += learned_term(dy[i], x[i], dx + i, scale, inverse, range);
  return total;
}

// max|x|. Without their sign, floats are ordered as integers are, NaN above infinity.
GLZ_CLONES float peak(const float* x, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  float result;
  std::memcpy(&result, &largest, sizeof result);
  return result;
}

// ---------------------------------------------------------------- gluonzip_fake_quantize
MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                      std::vector<MXTensor>* outputs, const OpResource&) {
  const Range range = clipping(attributes);
  const Layout at = layout(attributes, inputs->at(0).shape);
  if (inputs->at(1).size() != at.groups) {
    MX_ERROR_MSG << "gluonzip_fake_quantize: " << inputs->at(1).size() << " scales for "
                 << at.groups << " groups of values";
    return MX_FAIL;
  }
  const float* x = inputs->at(0).data<float>();
  const float* scales = inputs->at(1).data<float>();
  float* y = outputs->at(0).data<float>();
  for (int64_t i = 0; i < at.runs(); ++i) {
    quantize(x + i * at.inner, y + i * at.inner, at.inner, scales[i % at.groups], range);
  }
  return MX_SUCCESS;
}

void fill(MXTensor& tensor, float value) {
  float* data = tensor.data<float>();
  for (int64_t i = 0; i < tensor.size(); ++i) data[i] = value;
}

// LSQ's step for each growth: the scale's gradient / sqrt(n * high), over the scale's slope.
void growth_gradient(const std::vector<double>& sums, const float* scales, const float* growth,
                     double count, int high, float* gradient) {
  const double factor = 1 / std::sqrt(count * high);
  for (size_t g = 0; g < sums.size(); ++g) {
    const double slope = growth[g] > 0 ? scales[g] / (1.0 + growth[g]) : scales[g];
    gradient[g] = static_cast<float>(sums[g] * factor / slope);
  }
}

// Inputs: dy, x, scale [, growth], y. Outputs: dx, dscale [, dgrowth].
MXReturnValue backward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                       std::vector<MXTensor>* outputs, const OpResource&) {
  const Range range = clipping(attributes);
  const bool learned = number(attributes, "learned") != 0;
  const MXTensor& values = inputs->at(1);
  const Layout at = layout(attributes, values.shape);
  const float* dy = inputs->at(0).data<float>();
  const float* x = inputs->at(1).data<float>();
  const float* scales = inputs->at(2).data<float>();
  float* dx = outputs->at(0).data<float>();
  fill(outputs->at(1), 0.0f);
  std::vector<double> sums(at.groups, 0.0);
  for (int64_t i = 0; i < at.runs(); ++i) {
    const int64_t from = i * at.inner, group = i % at.groups;
    const float scale = scales[group];
    if (learned) {
      sums[group] += learned_gradient(dy + from, x + from, dx + from, at.inner, scale, range);
    } else {
      pass_gradient(dy + from, x + from, dx + from, at.inner, scale, range);
    }
  }
  if (learned) {
    double count = static_cast<double>(values.size()) / at.groups;
    if (number(attributes, "per_sample") != 0) count /= values.shape[0];
    growth_gradient(sums, scales, inputs->at(3).data<float>(), count, number(attributes, "high"),
                    outputs->at(2).data<float>());
  }
  return MX_SUCCESS;
}

// ---------------------------------------------------------------- gluonzip_quantize_weight
MXReturnValue weight_forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                             std::vector<MXTensor>* outputs, const OpResource&) {
  const float high = static_cast<float>(number(attributes, "high"));
  const Range all = clipping(attributes);
  const Layout at = layout(attributes, inputs->at(0).shape);
  const float* x = inputs->at(0).data<float>();
  float* y = outputs->at(0).data<float>();
  float* scales = outputs->at(1).data<float>();
  for (int64_t g = 0; g < at.groups; ++g) {
    float largest = 0;
    for (int64_t o = 0; o < at.outer; ++o) {
      const float found = peak(x + (o * at.groups + g) * at.inner, at.inner);
      largest = found > largest || std::isnan(found) ? found : largest;
    }
    const float scale = largest / high;
    scales[g] = scale + (scale <= kSmallest ? 1.0f : 0.0f);
    for (int64_t o = 0; o < at.outer; ++o) {
      const int64_t from = (o * at.groups + g) * at.inner;
      quantize(x + from, y + from, at.inner, scales[g], all);
    }
  }
  return MX_SUCCESS;
}

// Inputs: dy, dscales, w, y, scales. Output: dw.
MXReturnValue weight_backward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                              std::vector<MXTensor>* outputs, const OpResource&) {
  const Range all = clipping(attributes);
  const Layout at = layout(attributes, inputs->at(2).shape);
  const float* dy = inputs->at(0).data<float>();
  const float* x = inputs->at(2).data<float>();
  const float* scales = inputs->at(4).data<float>();
  float* dx = outputs->at(0).data<float>();
  for (int64_t i = 0; i < at.runs(); ++i) {
    const int64_t from = i * at.inner;
    pass_gradient(dy + from, x + from, dx + from, at.inner, scales[i % at.groups], all);
  }
  return MX_SUCCESS;
}

// ---------------------------------------------------------------- numbers, types and shapes
MXReturnValue count(const Attributes& attributes, int* inputs, int* outputs) {
  *inputs = number(attributes, "learned") != 0 ? 3 : 2;
  *outputs = 1;
  return MX_SUCCESS;
}

MXReturnValue weight_count(const Attributes&, int* inputs, int* outputs) {
  *inputs = 1;
  *outputs = 2;
  return MX_SUCCESS;
}

MXReturnValue types(const Attributes&, std::vector<int>* in, std::vector<int>* out) {
  for (int& type : *in) {
    if (type == -1) type = mxnet::ext::kFloat32;
    if (type != mxnet::ext::kFloat32) {
      MX_ERROR_MSG << "gluonzip's quantizers take float32 tensors alone";
      return MX_FAIL;
    }
  }
  for (int& type : *out) type = mxnet::ext::kFloat32;
  return MX_SUCCESS;
}

MXReturnValue shapes(const Attributes&, Shapes* in, Shapes* out) {
  (*out)[0] = (*in)[0];
  return MX_SUCCESS;
}

MXReturnValue weight_shapes(const Attributes& attributes, Shapes* in, Shapes* out) {
  const std::vector<unsigned int>& x = (*in)[0];
  const int axis = scale_axis(attributes, x.size());
  (*out)[0] = x;
  (*out)[1].assign(x.size(), 1);  // as max(keepdims=True): (1, 8, 1, 1)
  if (axis >= 0) (*out)[1][axis] = x[axis];
  return MX_SUCCESS;
}

}  // namespace

REGISTER_OP(gluonzip_fake_quantize)
    .setForward(forward, "cpu")
    .setBackward(backward, "cpu")
    .setParseAttrs(count)
    .setInferType(types)
    .setInferShape(shapes);

REGISTER_OP(gluonzip_quantize_weight)
    .setForward(weight_forward, "cpu")
    .setBackward(weight_backward, "cpu")
    .setParseAttrs(weight_count)
    .setInferType(types)
    .setInferShape(weight_shapes);

MXReturnValue initialize(int version) {
  if (version >= 10700) return MX_SUCCESS;
  MX_ERROR_MSG << "gluonzip's quantizers need MXNet 1.7 or newer";
  return MX_FAIL;
}
