// The engine on NumPy arrays; gluonzip.runtime.Engine is its face.
#include "../engine/engine.h"

#include <algorithm>

#include "module.h"

namespace py = pybind11;
using namespace glz;

namespace {

py::dtype dtype_of(const TensorType& type) {
  if (type.dtype == DType::kS8) return py::dtype::of<int8_t>();
  return type.dtype == DType::kU8 ? py::dtype::of<uint8_t>() : py::dtype::of<float>();
}

// Arrays that a plan reads and writes, and the memory behind them.
struct Call {
  std::vector<py::array> arrays;  // inputs, C-contiguous
  std::vector<Shape> shapes;
  std::vector<const void*> inputs;
  py::list results;
  std::vector<void*> outputs;

  Call(const Engine& engine, const py::list& given) {
    const auto& expected = engine.network().inputs();
    GLZ_CHECK(
        given.size() == expected.size(), kShape,
        given.size() << " arrays for " << expected.size() << " inputs (" << names(expected) << ")");
    for (size_t i = 0; i < expected.size(); ++i) add_input(expected[i].name, given[i]);
  }

  void allocate_outputs(const Plan& plan) {
    for (const TensorType& type : plan.outputs) {
      py::array array(dtype_of(type), type.shape);
      outputs.push_back(array.mutable_data());
      results.append(std::move(array));
    }
  }

 private:
  static std::string names(const std::vector<ModelInput>& inputs) {
    std::string text;
    for (const ModelInput& input : inputs) text += (text.empty() ? "" : ", ") + input.name;
    return text;
  }

  void add_input(const std::string& name, const py::handle& given) {
    GLZ_CHECK(py::isinstance<py::array>(given), kShape,
              "input '" << name << "' is a "
                        << std::string(py::str(py::type::of(given).attr("__name__")))
                        << "; pass a NumPy array");
    auto array = py::reinterpret_borrow<py::array>(given);
    GLZ_CHECK(
        array.dtype().is(py::dtype::of<float>()) || array.dtype().equal(py::dtype::of<float>()),
        kShape,
        "input '" << name << "' has dtype " << std::string(py::str(array.dtype()))
                  << "; the network needs float32 (use .astype('float32'))");
    array = py::array_t<float, py::array::c_style>::ensure(array);
    if (!array) throw py::error_already_set();
    shapes.emplace_back(array.shape(), array.shape() + array.ndim());
    inputs.push_back(array.data());
    arrays.push_back(std::move(array));
  }
};

std::vector<int32_t> tensor_ids(const Engine& engine, const std::vector<std::string>& names) {
  std::vector<int32_t> ids;
  for (const std::string& name : names) ids.push_back(engine.network().tensor(name));
  return ids;
}

py::list run(Engine& engine, const py::list& arrays, const std::vector<std::string>& taps) {
  Call call(engine, arrays);
  const std::vector<int32_t> ids = tensor_ids(engine, taps);
  std::shared_ptr<BoundPlan> bound;
  {
    py::gil_scoped_release release;
    bound = engine.plan(call.shapes, ids);
  }
  call.allocate_outputs(bound->plan());
  {
    py::gil_scoped_release release;
    engine.run(*bound, call.inputs, call.outputs);
  }
  return call.results;
}

std::string step_name(const Step& step, const NetworkNode* node) {
  if (node != nullptr) return node->name;
  return step.node == Step::kInputSide ? "(input)" : "(output)";
}

py::list profile(Engine& engine, const py::list& arrays, int repeat) {
  GLZ_CHECK(repeat > 0, kConfig, "repeat is " << repeat << ", must be positive");
  Call call(engine, arrays);
  std::shared_ptr<BoundPlan> bound;
  std::vector<std::vector<double>> times;
  {
    py::gil_scoped_release release;
    bound = engine.plan(call.shapes);
  }
  call.allocate_outputs(bound->plan());
  {
    py::gil_scoped_release release;
    times = engine.profile(*bound, call.inputs, call.outputs, repeat);
  }
  py::list steps;
  for (size_t i = 0; i < times.size(); ++i) {
    const Step& step = *bound->plan().steps[i];
    const int64_t runs = bound->plan().runs_of(i);
    const NetworkNode* node = step.node < 0 ? nullptr : &engine.network().nodes()[step.node];
    steps.append(py::dict(py::arg("name") = step_name(step, node),
                          py::arg("op") = node ? node->kind : "convert",
                          py::arg("kernel") = step.kernel, py::arg("note") = step.note,
                          py::arg("milliseconds") = times[i], py::arg("macs") = step.macs * runs,
                          py::arg("bytes") = step.bytes * runs, py::arg("tasks") = step.tasks,
                          py::arg("chunks") = runs));
  }
  return steps;
}

Choices tune(Engine& engine, const std::vector<Shape>& shapes) {
  py::gil_scoped_release release;
  return engine.tune(shapes);
}

py::list inputs(const Engine& engine) {
  py::list result;
  for (const ModelInput& input : engine.network().inputs()) {
    result.append(py::make_tuple(input.name, py::tuple(py::cast(input.shape)), "float32"));
  }
  return result;
}

std::vector<std::string> outputs(const Engine& engine) {
  std::vector<std::string> names;
  for (int32_t id : engine.network().outputs()) {
    names.push_back(engine.network().tensors()[id].name);
  }
  return names;
}

std::unique_ptr<Engine> make_engine(Model model, int threads, const std::string& isa) {
  auto network = std::make_shared<Network>(std::move(model), resolve_isa(isa));
  return std::make_unique<Engine>(std::move(network), threads);
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<Engine>(m, "Engine")
      .def_static(
          "load",
          [](const std::string& path, int threads, const std::string& isa,
             const std::optional<std::string>& member) {
            py::gil_scoped_release release;
            return make_engine(open_archive_file(path, member), threads, isa);
          },
          py::arg("path"), py::arg("threads"), py::arg("isa"), py::arg("member") = py::none())
      .def_static(
          "from_bytes",
          [](const py::bytes& data, const std::string& origin, int threads,
             const std::string& isa) {
            const std::string_view bytes = data;
            py::gil_scoped_release release;
            return make_engine(
                open_archive(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), origin),
                threads, isa);
          },
          py::arg("data"), py::arg("origin"), py::arg("threads"), py::arg("isa"))
      .def(
          "clone",
          [](const Engine& engine, int threads) {
            py::gil_scoped_release release;
            auto clone = std::make_unique<Engine>(engine.shared_network(), threads);
            Choices choices = engine.choices();
            if (!choices.empty()) clone->set_choices(std::move(choices));
            return clone;
          },
          py::arg("threads"))
      .def("tune", &tune, py::arg("shapes"))
      .def("set_choices", &Engine::set_choices, py::arg("choices"))
      .def("choices", &Engine::choices)
      .def("run", &run, py::arg("arrays"), py::arg("taps") = std::vector<std::string>())
      .def("profile", &profile, py::arg("arrays"), py::arg("repeat"))
      .def_property_readonly("inputs", &inputs)
      .def_property_readonly("outputs", &outputs)
      .def_property_readonly("name", [](const Engine& e) { return e.network().name(); })
      .def_property_readonly("threads", &Engine::threads)
      .def_property_readonly("isa", [](const Engine& e) { return isa_name(e.network().isa()); })
      .def("memory", [](const Engine& e) {
        return py::dict(py::arg("weights") = e.network().weight_bytes(),
                        py::arg("arena") = e.arena_bytes());
      });
}
