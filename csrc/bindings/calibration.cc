// The inner loops of calibration.
#include "../base/check.h"
#include "../base/histogram.h"
#include "module.h"

namespace py = pybind11;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

int64_t count_magnitudes(const Array<float>& x, float width, Array<int64_t>& counts) {
  GLZ_CHECK(width > 0, kConfig, "count_magnitudes: width = " << width << ", must be positive");
  GLZ_CHECK(counts.ndim() == 1 && counts.size() > 0, kShape, "count_magnitudes: no counts");
  GLZ_CHECK(counts.size() <= 1 << 20, kShape,
            "count_magnitudes: " << counts.size() << " bins, at most " << (1 << 20));
  const auto* values = x.data();
  auto* out = counts.mutable_data();
  const int64_t n = x.size(), bins = counts.size();
  py::gil_scoped_release release;
  return glz::count_magnitudes(values, n, width, bins, out);
}

int64_t kl_bins(const Array<int64_t>& counts, int64_t levels) {
  GLZ_CHECK(counts.ndim() == 1 && levels >= 1, kShape, "kl_bins: levels = " << levels);
  const auto* values = counts.data();
  const int64_t bins = counts.size();
  py::gil_scoped_release release;
  return glz::kl_bins(values, bins, levels);
}

}  // namespace

void bind_calibration(py::module_& m) {
  m.def("count_magnitudes", &count_magnitudes, py::arg("x"), py::arg("width"),
        py::arg("counts").noconvert());
  m.def("kl_bins", &kl_bins, py::arg("counts"), py::arg("levels"));
}
