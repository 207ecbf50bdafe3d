#include "histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace glz {

namespace {

constexpr int64_t kChunk = 1024;
constexpr int kLanes = 4;  // neighbours often share a bin: separate tables need not wait

// Sums over the first i bins.
struct Prefix {
  explicit Prefix(const int64_t* counts, int64_t bins) : mass{0}, hit{0}, p_log_p{0} {
    for (int64_t i = 0; i < bins; ++i) {
      const auto p = static_cast<double>(counts[i]);
      mass.push_back(mass.back() + p);
      hit.push_back(hit.back() + (p > 0));
      p_log_p.push_back(p_log_p.back() + (p > 0 ? p * std::log(p) : 0));
    }
  }
  std::vector<double> mass, hit, p_log_p;
};

// Divergence of q from p. p: the first `kept` bins, the rest of the histogram added to the last of
// them. q: the same bins without the rest, each of `levels` groups of them spread evenly over those
// that were hit. Both are normalised.
double divergence(const Prefix& sums, int64_t kept, int64_t levels) {
  const double total = sums.mass.back(), inside = sums.mass[kept], beyond = total - inside;
  const double last = inside - sums.mass[kept - 1];
  double sum = sums.p_log_p[kept - 1];
  if (last + beyond > 0) sum += (last + beyond) * std::log(last + beyond);
  for (int64_t level = 0; level < levels; ++level) {
    const int64_t begin = level * kept / levels, end = (level + 1) * kept / levels;
    double p = sums.mass[end] - sums.mass[begin], hit = sums.hit[end] - sums.hit[begin];
    double q = p;
    if (level == levels - 1 && beyond > 0) {
      p += beyond;
      if (last == 0) ++hit;  // where only clipped values are
      q = std::max(q, 0.5);  // not nothing: the divergence would be infinite
    }
    if (p > 0) sum -= p * std::log(q / hit);
  }
  return (sum - total * std::log(total / std::max(inside, 0.5))) / total;
}

}  // namespace

int64_t count_magnitudes(const float* x, int64_t n, float width, int64_t bins, int64_t* counts) {
  const int64_t stride = bins + 1;  // behind the bins: exact zeros
  std::vector<int64_t> tables(kLanes * stride, 0);
  const float scale = 1.0f / width;
  const auto last = static_cast<float>(bins - 1);
  int32_t at[kChunk];
  for (int64_t start = 0; start < n; start += kChunk) {
    const int64_t length = std::min(kChunk, n - start);
    for (int64_t i = 0; i < length; ++i) {
      const float value = std::fabs(x[start + i]);
      const auto bin = static_cast<int32_t>(std::min(last, value * scale));
      at[i] = value == 0 ? static_cast<int32_t>(bins) : bin;
    }
    for (int64_t i = 0; i < length; ++i) ++tables[i % kLanes * stride + at[i]];
  }
  int64_t zeros = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int64_t i = 0; i < bins; ++i) counts[i] += tables[lane * stride + i];
    zeros += tables[lane * stride + bins];
  }
  return zeros;
}

int64_t kl_bins(const int64_t* counts, int64_t bins, int64_t levels) {
  int64_t used = bins;
  while (used > levels && counts[used - 1] == 0) --used;
  const Prefix sums(counts, used);
  if (used <= levels || sums.mass.back() == 0) return used;
  double least = std::numeric_limits<double>::infinity();
  int64_t best = used;
  for (int64_t kept = used; kept >= levels; --kept) {
    const double found = divergence(sums, kept, levels);
    if (found < least) {
      least = found;
      best = kept;
    }
  }
  return best;
}

}  // namespace glz
