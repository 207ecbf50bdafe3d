#include "sparse_choice.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "../base/check.h"
#include "../kernels/sparse_conv/packing.h"

namespace glz {
namespace {

// Of one core with AVX-512, in cycles; fitted to measurements of ResNet-50's shapes.
struct Costs {
  double dense_vector = 0.525;  // a multiply-accumulate instruction of 16 lanes
  double dense_finish = 3.0;    // the epilogue of 16 sums
  double sparse_vector = 0.66;  // a multiply-accumulate instruction, with its load
  double sparse_word = 0.6;     // to fetch and broadcast a word of weights
  double sparse_row = 10.0;     // to begin an output channel of a slice
  double sparse_finish_s8 = 3.5;
  double sparse_finish_f32 = 8.0;  // sums of float32 leave the caches
  double stage = 2.5;              // to bring a word of 16 pixels together
  double spill = 2.0;              // 16 sums between two slices
  double bytes = 14.0;             // of weights a cycle, when they stream
};

int64_t parts(int64_t value, int64_t by) { return (value + by - 1) / by; }

double dense_cycles(const Costs& cost, const ConvGeometry& g, const SparseDepth& depth) {
  const double vectors = static_cast<double>(parts(g.out_channels, 16));
  const double multiply =
      vectors * g.rows() * (cost.dense_vector * depth.words + cost.dense_finish);
  return std::max(multiply, 64.0 * vectors * depth.words / cost.bytes);
}

double sparse_cycles(const Costs& cost, const ConvGeometry& g, const SparseDepth& depth,
                     bool integer, int64_t words) {
  const double finish = integer ? cost.sparse_finish_s8 : cost.sparse_finish_f32;
  const int64_t vecs = parts(g.rows(), 16), chunks = parts(vecs, kChunkPixels / 16);
  const double out = static_cast<double>(g.out_channels);
  const double multiply = words * (cost.sparse_vector * vecs + cost.sparse_word * chunks) +
                          cost.sparse_row * out * depth.slices * chunks;
  const double sums = vecs * out * (cost.spill * (depth.slices - 1) + finish);
  return multiply + sums + cost.stage * vecs * depth.words + 6.0 * words / cost.bytes;
}

}  // namespace

SparsePolicy sparse_policy() {
  const char* variable = std::getenv("GLUONZIP_SPARSE");
  const std::string text = variable == nullptr ? "" : variable;
  if (text.empty() || text == "auto") return SparsePolicy::kAuto;
  if (text == "always") return SparsePolicy::kAlways;
  GLZ_CHECK(
      text == "never", kConfig,
      "environment variable GLUONZIP_SPARSE = '" << text << "' is not one of auto, always, never");
  return SparsePolicy::kNever;
}

bool sparse_is_faster(const ConvGeometry& g, bool integer, int64_t words) {
  const SparseDepth depth = integer ? sparse_depth<int8_t>(g) : sparse_depth<float>(g);
  if (g.rows() < 16) return false;  // most lanes would idle
  const Costs cost;
  // The margin is what the estimates may be wrong by.
  return sparse_cycles(cost, g, depth, integer, words) < 0.85 * dense_cycles(cost, g, depth);
}

}  // namespace glz
