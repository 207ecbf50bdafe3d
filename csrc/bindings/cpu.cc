#include "../base/cpu.h"

#include "module.h"

void bind_cpu(pybind11::module_& m) {
  m.def("isas", [] {
    std::vector<std::string> names;
    for (glz::Isa isa : glz::available_isas()) names.emplace_back(glz::isa_name(isa));
    return names;
  });
  m.def("best_isa", [] { return glz::isa_name(glz::best_isa()); });
  m.def(
      "resolve_isa", [](const std::string& name) { return glz::isa_name(glz::resolve_isa(name)); },
      pybind11::arg("name") = "");
  m.def("last_level_cache_bytes", &glz::last_level_cache_bytes);
  m.def("cores", &glz::available_cores);
}
