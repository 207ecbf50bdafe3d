// The C++ reader as Python sees it: dicts, for tests that compare it with the Python reader.
#include "../engine/archive_layout.h"
#include "../engine/model.h"
#include "module.h"

namespace py = pybind11;

namespace {

const char* dtype_name(glz::DType dtype) {
  return dtype == glz::DType::kS8 ? "int8" : dtype == glz::DType::kS32 ? "int32" : "float32";
}

py::dict input_dict(const glz::ModelInput& input) {
  const char* dtype = input.dtype == glz::DType::kF16 ? "float16" : dtype_name(input.dtype);
  return py::dict(py::arg("name") = input.name, py::arg("shape") = py::tuple(py::cast(input.shape)),
                  py::arg("dtype") = dtype);
}

py::dict node_dict(const glz::ModelNode& node) {
  return py::dict(py::arg("op") = node.op, py::arg("name") = node.name,
                  py::arg("inputs") = node.inputs, py::arg("outputs") = node.outputs,
                  py::arg("attrs") = node.attrs);
}

py::dict tensor_dict(const glz::ModelTensor& tensor) {
  const py::array data(py::dtype(dtype_name(tensor.dtype)), tensor.shape, tensor.data.data());
  return py::dict(py::arg("data") = data, py::arg("scale") = tensor.scale,
                  py::arg("axis") = tensor.axis, py::arg("bits") = tensor.bits,
                  py::arg("stored_bytes") = tensor.stored_bytes);
}

py::dict model_dict(const glz::Model& model) {
  py::list inputs, nodes;
  py::dict tensors;
  for (const auto& input : model.inputs) inputs.append(input_dict(input));
  for (const auto& node : model.nodes) nodes.append(node_dict(node));
  for (const auto& [name, tensor] : model.tensors) tensors[py::str(name)] = tensor_dict(tensor);
  return py::dict(py::arg("name") = model.name, py::arg("inputs") = inputs,
                  py::arg("outputs") = model.outputs, py::arg("nodes") = nodes,
                  py::arg("tensors") = tensors);
}

py::dict read_archive(const py::bytes& data, const std::string& origin) {
  const std::string_view bytes = data;
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  glz::Model model;
  {
    py::gil_scoped_release release;
    model = glz::read_archive(begin, bytes.size(), origin);
  }
  return model_dict(model);
}

py::dict archive_layout() {
  using namespace glz;
  return py::dict(py::arg("WORDS") =
                      std::vector<std::string>(std::begin(kArchiveWords), std::end(kArchiveWords)),
                  py::arg("VERSION") = kArchiveVersion, py::arg("HEADER_BYTES") = kHeaderBytes,
                  py::arg("MAX_ELEMENTS") = kMaxElements, py::arg("MAX_NODES") = kMaxNodes,
                  py::arg("MAX_TENSORS") = kMaxTensors, py::arg("MAX_AXES") = kMaxAxes,
                  py::arg("MAX_NAME_BYTES") = kMaxNameBytes, py::arg("MAX_GAP_BITS") = kMaxGapBits,
                  py::arg("MAX_TEXT_BYTES") = kMaxTextBytes,
                  py::arg("MAX_META_BYTES") = kMaxMetaBytes);
}

}  // namespace

void bind_archive(py::module_& m) {
  m.def("read_archive", &read_archive, py::arg("data"), py::arg("origin") = "archive");
  m.def(
      "read_archive_file",
      [](const std::string& path) { return model_dict(glz::read_archive_file(path)); },
      py::arg("path"));
  m.def("archive_layout", &archive_layout);
}
