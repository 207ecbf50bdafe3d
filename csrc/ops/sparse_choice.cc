#include "sparse_choice.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <sstream>

#include "../base/check.h"
#include "../kernels/bitmap_s8/packing.h"

namespace glz {
namespace {

constexpr int64_t kLanes = 16;
// Estimates are wrong by some percent: sparse must promise more than that.
constexpr double kMargin = 0.93;
// Estimates take weights to come from memory. Those of one row that may stay in the last-level
// cache reach the dense kernel twice as fast from there: sparse must pay then, too.
constexpr double kNearMargin = 0.5;

using Costs = std::map<std::string, double>;

struct CostTable {
  std::mutex mutex;
  // Measured on one Zen 5 core (AVX-512 VNNI) by gluonzip bench --calibrate.
  Costs s8 = {{"dense_vector", 0.136}, {"dense_finish", 0.8},   {"sparse_vector", 0.134},
              {"sparse_word", 0.218},  {"sparse_row", 0.0},     {"sparse_spill", 0.69},
              {"sparse_stage", 1.56},  {"sparse_finish", 1.62}, {"sparse_gather", 0.215},
              {"gather_row", 5.0},     {"bitmap_group", 0.50},  {"bitmap_weight", 0.0125},
              {"bitmap_row", 2.0},     {"weight_byte", 0.032}};
  Costs f32 = {{"dense_vector", 0.135}, {"dense_finish", 0.04},  {"sparse_vector", 0.161},
               {"sparse_word", 0.053},  {"sparse_row", 0.0},     {"sparse_spill", 1.39},
               {"sparse_stage", 0.41},  {"sparse_finish", 3.56}, {"sparse_gather", 0.21},
               {"gather_row", 5.0},     {"weight_byte", 0.027}};
};

CostTable& table() {
  static CostTable costs;
  return costs;
}

SparseDepth depth_of(const ConvGeometry& g, bool integer, SparseForm form = {kMostVectors}) {
  return integer ? sparse_depth<int8_t>(g, form) : sparse_depth<float>(g, form);
}

double total(const CostCounts& counts, const Costs& costs) {
  double sum = 0;
  for (const auto& [name, count] : counts) {
    if (name != "weight_byte") sum += count * costs.at(name);
  }
  return std::max(sum, counts.at("weight_byte") * costs.at("weight_byte"));
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

CostCounts dense_counts(const ConvGeometry& g, bool integer) {
  const double words = static_cast<double>(depth_of(g, integer).words);
  const double vectors = static_cast<double>(ceil_div(g.out_channels, kLanes) * g.rows());
  return {{"dense_vector", vectors * words},
          {"dense_finish", vectors},
          {"weight_byte", 4.0 * words * static_cast<double>(g.out_channels)}};
}

SparseForm sparse_form_of(const ConvGeometry& g) { return sparse_form(g, kLanes); }

CostCounts sparse_counts(const ConvGeometry& g, bool integer, double words, SparseForm form) {
  if (form.one_pixel()) {
    return {{"sparse_gather", words},
            {"gather_row", static_cast<double>(g.out_channels)},
            {"weight_byte", 6.0 * words}};
  }
  const SparseDepth depth = depth_of(g, integer, form);
  const int64_t vecs = ceil_div(g.rows(), kLanes), chunks = ceil_div(vecs, form.vectors);
  const double sums = static_cast<double>(vecs * g.out_channels);
  return {{"sparse_vector", words * static_cast<double>(vecs)},
          {"sparse_word", words * static_cast<double>(chunks)},
          {"sparse_row", static_cast<double>(g.out_channels * depth.slices * chunks)},
          {"sparse_spill", sums * static_cast<double>(depth.slices - 1)},
          {"sparse_stage", static_cast<double>(vecs * depth.words)},
          {"sparse_finish", sums},
          {"weight_byte", 6.0 * words}};
}

bool has_one_row(const ConvGeometry& g) { return sparse_form_of(g).one_pixel(); }

CostCounts bitmap_counts(const ConvGeometry& g, double weights) {
  const auto out = static_cast<double>(g.out_channels);
  const double groups = out * static_cast<double>(bitmap_groups(g.channels));
  return {{"bitmap_group", groups},
          {"bitmap_weight", weights},
          {"bitmap_row", out},
          {"weight_byte", 8.0 * groups + weights}};
}

Costs sparse_costs(bool integer) {
  const std::lock_guard<std::mutex> lock(table().mutex);
  return integer ? table().s8 : table().f32;
}

void set_sparse_costs(bool integer, const Costs& costs) {
  const Costs known = sparse_costs(integer);
  for (const auto& [name, cost] : costs) {
    GLZ_CHECK(known.count(name) != 0, kConfig, "there is no cost named '" << name << "'");
    GLZ_CHECK(std::isfinite(cost) && cost >= 0, kConfig,
              "cost '" << name << "' is " << cost << ", must be a number of at least 0");
  }
  for (const auto& [name, cost] : known) {
    GLZ_CHECK(costs.count(name) != 0, kConfig, "cost '" << name << "' is missing");
  }
  const std::lock_guard<std::mutex> lock(table().mutex);
  (integer ? table().s8 : table().f32) = costs;
}

double sparse_nanoseconds(const ConvGeometry& g, bool integer, double words, SparseForm form) {
  return total(sparse_counts(g, integer, words, form), sparse_costs(integer));
}

double sparse_read_nanoseconds(const ConvGeometry& g, bool integer) {
  if (has_one_row(g)) return 0;
  const double vectors = static_cast<double>(ceil_div(g.rows(), kLanes));
  const double each = g.sw == 1 ? 1.0 : 4.0;
  return each * vectors * static_cast<double>(depth_of(g, integer).tap_words);
}

double bitmap_nanoseconds(const ConvGeometry& g, double weights) {
  return total(bitmap_counts(g, weights), sparse_costs(true));
}

namespace {

double margin(const ConvGeometry& g, bool integer) {
  const double bytes = dense_counts(g, integer).at("weight_byte");
  const bool near = bytes < static_cast<double>(last_level_cache_bytes());
  return integer && near && has_one_row(g) ? kNearMargin : kMargin;
}

// "25% of 36864"
std::string share(int64_t part, int64_t all) {
  std::ostringstream text;
  text.precision(2);
  text << (all == 0 ? 0 : 100 * part / all) << "% of " << all;
  return text.str();
}

}  // namespace

SparseChoice choose_sparse(const ConvGeometry& g, bool integer, SparseSize size,
                           SparseKernels kernels, SparsePolicy policy) {
  const auto words = static_cast<double>(size.words), weights = static_cast<double>(size.weights);
  const double by_words = sparse_nanoseconds(g, integer, words, sparse_form_of(g));
  SparseChoice choice;
  choice.bitmap =
      integer && kernels.bitmap && has_one_row(g) && bitmap_nanoseconds(g, weights) < by_words;
  std::ostringstream why;
  why.precision(2);
  if (choice.bitmap) {
    why << share(size.weights, g.out_channels * g.channels) << " weights are not zero; ";
  } else {
    why << share(size.words, g.out_channels * depth_of(g, integer).words)
        << " words are not zero; ";
  }
  if (policy != SparsePolicy::kAuto) {
    choice.sparse = policy == SparsePolicy::kAlways;
    why << "GLUONZIP_SPARSE says " << (choice.sparse ? "always" : "never");
  } else if (!kernels.words) {
    why << "this instruction set has no sparse kernel";
  } else {
    const double sparse = choice.bitmap ? bitmap_nanoseconds(g, weights) : by_words;
    const double ratio = sparse / total(dense_counts(g, integer), sparse_costs(integer));
    choice.sparse = ratio < margin(g, integer);
    why << (choice.bitmap ? "a bitmap of them" : "sparse") << " is estimated at " << ratio
        << " of dense's time";
  }
  choice.why = why.str();
  return choice;
}

}  // namespace glz
