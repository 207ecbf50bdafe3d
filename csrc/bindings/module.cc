// The Python module gluonzip._core: each subject binds itself in a file of its own.
#include "module.h"

#include "../engine/archive_layout.h"

namespace {

// What Python expects of this module (gluonzip/archive/core.py): to be raised there and here when
// Python begins to rely on something new, so that a core left over from before is recognized.
constexpr int kInterface = 9;

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "gluonzip's C++ core; use gluonzip.runtime.";
  m.attr("stamp") = pybind11::make_tuple(GLUONZIP_VERSION, kInterface, glz::kArchiveVersion,
                                         glz::kArchiveWordCount);
  bind_errors(m);
  bind_cpu(m);
  bind_archive(m);
  bind_calibration(m);
  bind_arrays(m);
  bind_sparse(m);
  bind_testing(m);
  bind_kernels(m);
  bind_engine(m);
}
