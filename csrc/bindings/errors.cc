// glz::Error becomes the class of gluonzip/errors.py that its kind names.
#include "../base/check.h"
#include "module.h"

namespace py = pybind11;

namespace {

const char* class_name(glz::ErrorKind kind) {
  switch (kind) {
    case glz::ErrorKind::kConfig:
      return "ConfigError";
    case glz::ErrorKind::kData:
      return "DataError";
    case glz::ErrorKind::kShape:
      return "ShapeError";
    case glz::ErrorKind::kGraph:
      return "GraphError";
    case glz::ErrorKind::kUnsupported:
      return "UnsupportedError";
    case glz::ErrorKind::kArchive:
      return "ArchiveError";
    case glz::ErrorKind::kIsa:
      return "IsaError";
  }
  return "GluonzipError";
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const glz::Error& error) {
    const py::object cls = py::module_::import("gluonzip.errors").attr(class_name(error.kind()));
    PyErr_SetString(cls.ptr(), error.what());
  }
}

}  // namespace

void bind_errors(py::module_&) { py::register_exception_translator(translate); }
