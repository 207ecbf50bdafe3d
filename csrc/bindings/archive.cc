// The C++ reader as Python sees it: dicts, for tests that compare it with the Python reader.
#include "../base/check.h"
#include "../base/rans.h"
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

using Member = std::optional<std::string>;

py::dict read_archive(const py::bytes& data, const std::string& origin, const Member& member) {
  const std::string_view bytes = data;
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  glz::Model model;
  {
    py::gil_scoped_release release;
    model = glz::read_archive(begin, bytes.size(), origin, member);
  }
  return model_dict(model);
}

using Bytes = py::array_t<uint8_t, py::array::c_style>;

void check_symbol_bits(int bits) {
  GLZ_CHECK(bits >= 1 && bits <= glz::kRansMaxSymbolBits, kConfig,
            "rans: symbols of " << bits << " bits, must be from 1 to " << glz::kRansMaxSymbolBits);
}

py::bytes rans_encode(const Bytes& symbols, int bits, const Bytes& levels) {
  check_symbol_bits(bits);
  GLZ_CHECK(levels.size() == 1 << bits, kShape,
            "rans: " << levels.size() << " levels, must be " << (1 << bits));
  for (py::ssize_t i = 0; i < levels.size(); ++i) {
    GLZ_CHECK(levels.data()[i] <= glz::kRansMaxLevel, kData,
              "rans: level " << +levels.data()[i] << " is above " << glz::kRansMaxLevel);
  }
  const auto out = glz::rans_encode(symbols.data(), symbols.size(), bits, levels.data());
  return py::bytes(reinterpret_cast<const char*>(out.data()), out.size());
}

Bytes rans_decode(const py::bytes& data, int bits, int64_t count) {
  check_symbol_bits(bits);
  GLZ_CHECK(count >= 0, kShape, "rans: " << count << " symbols");
  const std::string_view bytes = data;
  Bytes out(count);
  glz::rans_decode(reinterpret_cast<const uint8_t*>(bytes.data()),
                   static_cast<int64_t>(bytes.size()), bits, count, out.mutable_data());
  return out;
}

py::dict archive_layout() {
  using namespace glz;
  return py::dict(
      py::arg("WORDS") =
          std::vector<std::string>(std::begin(kArchiveWords), std::end(kArchiveWords)),
      py::arg("VERSION") = kArchiveVersion, py::arg("HEADER_BYTES") = kHeaderBytes,
      py::arg("MAX_ELEMENTS") = kMaxElements, py::arg("MAX_NODES") = kMaxNodes,
      py::arg("MAX_TENSORS") = kMaxTensors, py::arg("MAX_MEMBERS") = kMaxMembers,
      py::arg("MAX_AXES") = kMaxAxes, py::arg("MAX_NAME_BYTES") = kMaxNameBytes,
      py::arg("MAX_GAP_BITS") = kMaxGapBits, py::arg("MAX_STREAM_BYTES") = kMaxStreamBytes,
      py::arg("MAX_TEXT_BYTES") = kMaxTextBytes, py::arg("MAX_META_BYTES") = kMaxMetaBytes);
}

}  // namespace

void bind_archive(py::module_& m) {
  m.def("read_archive", &read_archive, py::arg("data"), py::arg("origin") = "archive",
        py::arg("member") = py::none());
  m.def(
      "read_archive_file",
      [](const std::string& path, const Member& member) {
        return model_dict(glz::read_archive_file(path, member));
      },
      py::arg("path"), py::arg("member") = py::none());
  m.def("rans_encode", &rans_encode, py::arg("symbols"), py::arg("bits"), py::arg("levels"));
  m.def("rans_decode", &rans_decode, py::arg("data"), py::arg("bits"), py::arg("count"));
  m.def("archive_layout", &archive_layout);
}
