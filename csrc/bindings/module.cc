// The Python module gluonzip._core: each subject binds itself in a file of its own.
#include "module.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "gluonzip's C++ core; use gluonzip.runtime.";
  bind_errors(m);
  bind_cpu(m);
  bind_archive(m);
  bind_arrays(m);
  bind_testing(m);
  bind_kernels(m);
  bind_engine(m);
}
