// gluonzip._core.testing: element-wise kernels.
#include <array>

#include "../kernels/table.h"
#include "testing.h"

namespace py = pybind11;
using namespace glz;

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<uint8_t, py::array::c_style>;

// `fn(element of planes, element of pixels, pixels)` for both halves of every image's pixels.
template <typename Planes, typename Pixels, typename Fn>
void in_parts(const Planes& planes, const Pixels& pixels, const Fn& fn) {
  const int64_t c = planes.shape(1), hw = planes.shape(2), stride = pixels.shape(2);
  for (int64_t image = 0; image < planes.shape(0); ++image) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t first = hw * half / 2, end = hw * (half + 1) / 2;
      if (end > first) fn(image * c * hw + first, (image * hw + first) * stride, end - first);
    }
  }
}

}  // namespace

void bind_testing_eltwise(py::module_& m) {
  const auto eltwise = [](const std::string& isa) -> const EltwiseKernel& {
    return kernel_table(resolve_isa(isa)).eltwise;
  };
  m.def("quantize", [=](const std::string& isa, const Floats& x, float inverse, Bytes out,
                        const std::string& type) {
    eltwise(isa).quantize(x.data(), inverse, out.mutable_data(), glz_element_type(type), x.size());
  });
  m.def("dequantize", [=](const std::string& isa, const Bytes& x, const std::string& type,
                          float scale, Floats out) {
    eltwise(isa).dequantize(x.data(), glz_element_type(type), scale, out.mutable_data(), x.size());
  });
  m.def("lookup", [=](const std::string& isa, const Bytes& x, const Bytes& table, Bytes out) {
    eltwise(isa).lookup(x.data(), table.data(), out.mutable_data(), x.size());
  });
  // types: of a, b and out
  using Types = std::array<std::string, 3>;
  const auto pair = [](const Bytes& a, const Bytes& b, Bytes& out, const Types& types) {
    return CodesPair{a.data(),
                     b.data(),
                     out.mutable_data(),
                     glz_element_type(types[0]),
                     glz_element_type(types[1]),
                     glz_element_type(types[2]),
                     a.size()};
  };
  m.def("add_u8", [=](const std::string& isa, const Bytes& a, float ma, const Bytes& b, float mb,
                      bool leaky, float slope, float lo, float hi, Bytes out, const Types& types) {
    eltwise(isa).add_u8(pair(a, b, out, types), ma, mb, leaky, slope, lo, hi);
  });
  m.def("mul_u8",
        [=](const std::string& isa, const Bytes& a, const Bytes& b, float factor, Bytes out,
            const Types& types) { eltwise(isa).mul_u8(pair(a, b, out, types), factor); });
  m.def("add_f32", [=](const std::string& isa, const Floats& a, const Floats& b, bool leaky,
                       float slope, float lo, float hi, Floats out) {
    eltwise(isa).add_f32(a.data(), b.data(), leaky, slope, lo, hi, out.mutable_data(), a.size());
  });
  m.def("mix",
        [=](const std::string& isa, const py::array& x, const std::string& x_type, float row_weight,
            float column_weight, float factor, py::array out, const std::string& out_type) {
          const auto* first = static_cast<const char*>(x.data());
          const void* corners[4];
          for (int i = 0; i < 4; ++i) corners[i] = first + i * x.nbytes() / 4;
          eltwise(isa).mix(corners, glz_element_type(x_type), row_weight, column_weight, factor,
                           out.mutable_data(), glz_element_type(out_type), out.size());
        });
  m.def("scale_shift",
        [=](const std::string& isa, const py::array& x, const std::string& x_type, float x_scale,
            const Floats& scale, const Floats& shift, bool leaky, float slope, float lo, float hi,
            py::array out, const std::string& out_type, float inverse_scale, int64_t channels) {
          eltwise(isa).scale_shift(x.data(), glz_element_type(x_type), x_scale, scale.data(),
                                   shift.data(), leaky, slope, lo, hi, out.mutable_data(),
                                   glz_element_type(out_type), inverse_scale, x.shape(0), channels,
                                   x.shape(1), out.shape(1));
        });
  m.def("planes_to_pixels_f32", [=](const std::string& isa, const Floats& x, Floats out) {
    in_parts(x, out, [&](int64_t in_planes, int64_t in_pixels, int64_t pixels) {
      eltwise(isa).planes_to_pixels_f32(x.data() + in_planes, out.mutable_data() + in_pixels,
                                        pixels, x.shape(1), x.shape(2), out.shape(2));
    });
  });
  m.def("planes_to_pixels_u8", [=](const std::string& isa, const Floats& x, float inverse,
                                   Bytes out, const std::string& type) {
    in_parts(x, out, [&](int64_t in_planes, int64_t in_pixels, int64_t pixels) {
      eltwise(isa).planes_to_pixels_u8(x.data() + in_planes, inverse,
                                       out.mutable_data() + in_pixels, glz_element_type(type),
                                       pixels, x.shape(1), x.shape(2), out.shape(2));
    });
  });
  m.def("pixels_to_planes_f32", [=](const std::string& isa, const Floats& x, Floats out) {
    in_parts(out, x, [&](int64_t in_planes, int64_t in_pixels, int64_t pixels) {
      eltwise(isa).pixels_to_planes_f32(x.data() + in_pixels, out.mutable_data() + in_planes,
                                        pixels, out.shape(1), out.shape(2), x.shape(2));
    });
  });
}
