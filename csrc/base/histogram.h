// Histograms of magnitudes, and the threshold that loses the least information: what calibration
// spends its time on. gluonzip/passes/quantize/statistics.py and observers.py are their users.
#pragma once

#include <cstdint>

namespace glz {

// counts[min(floor(|x| / width), bins - 1)] += 1 for each of n finite values but exact zeros, whose
// number is returned.
int64_t count_magnitudes(const float* x, int64_t n, float width, int64_t bins, int64_t* counts);

// How many bins to keep of a histogram of magnitudes, so that `levels` equal steps over them tell
// the distribution best: the least Kullback-Leibler divergence of what is left after rounding
// from what was counted (values beyond the threshold belong to the last bin). S. Migacz, "8-bit
// Inference with TensorRT", GTC 2017. At least `levels` bins are kept.
int64_t kl_bins(const int64_t* counts, int64_t bins, int64_t levels);

}  // namespace glz
