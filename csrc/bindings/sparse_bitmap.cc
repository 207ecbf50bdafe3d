// An int8 sparse matrix as a bitmap, for products with one column (../kernels/bitmap_s8).
#include <cmath>

#include "sparse_arrays.h"

namespace py = pybind11;
using namespace glz;

namespace {

constexpr double kCyclesOfAGroup = 2.2;

// Kernels read factors up to the next multiple of 64 rows.
Buffer padded(const float* values, int64_t m) {
  Buffer buffer(round_up(m, 64) * sizeof(float));
  if (values != nullptr) std::copy_n(values, m, buffer.as<float>());
  return buffer;
}

class SpmmBitmap {
 public:
  SpmmBitmap(const Array<int32_t>& row_begin, const Array<int32_t>& columns,
             const Array<int8_t>& values, int64_t k, const std::string& isa)
      : kernel_(kernel_table(resolve_isa(isa)).bitmap_s8), m_(row_begin.size() - 1), k_(k) {
    check_rows(row_begin, columns, values.size(), k);
    check_sums(row_begin, values);
    const SpmmRows<int8_t> rows = {m_, k, row_begin.data(), columns.data(), values.data()};
    py::gil_scoped_release release;
    packed_ = spmm_bitmap(rows);
  }

  int64_t bytes() const { return static_cast<int64_t>(packed_.size()); }

  py::array run(const py::array& x, const std::string& type, int threads, bool transposed,
                const Floats& multiplier, const Floats& bias, float lo, float hi) const {
    const Operand from = operand<int8_t>(x, k_);
    GLZ_CHECK(from.n == 1, kShape, "spmm: a bitmap is for one column, x has " << from.n);
    GLZ_CHECK(type == "int32" || type == "float32" || type == "int8", kConfig,
              "spmm: cannot give " << type);
    py::array y = make_output(type, m_, 1, transposed);
    const Buffer factors = padded(of_rows(multiplier, m_, "multiplier"), m_);
    const Buffer offsets = padded(of_rows(bias, m_, "bias"), m_);
    Epilogue e;
    e.multiplier = multiplier ? factors.as<float>() : nullptr;
    e.bias = bias ? offsets.as<float>() : nullptr;
    e.lo = lo;
    e.hi = hi;
    e.output = y.mutable_data();
    e.output_type = type == "int32"  ? ElementType::kS32
                    : type == "int8" ? ElementType::kS8
                                     : ElementType::kF32;
    ThreadPool& pool = shared_pool(threads);
    py::gil_scoped_release release;
    multiply(pool, from, e);
    if (type == "int8") {  // from the bytes of codes
      auto* codes = static_cast<uint8_t*>(e.output);
      for (int64_t i = 0; i < m_; ++i) codes[i] ^= zero_byte(ElementType::kS8);
    }
    return y;
  }

 private:
  void multiply(ThreadPool& pool, const Operand& from, const Epilogue& e) const {
    ConvS8Args args{};
    args.geometry = product_geometry(1, m_, k_);
    args.packed = packed_.data();
    args.epilogue = e;
    Buffer stored(k_);
    const auto* values = static_cast<const int8_t*>(from.data);
    for (int64_t k = 0; k < k_; ++k) stored.as<uint8_t>()[k] = S8::store(values[k * from.row]);
    args.input = stored.as<uint8_t>();
    const int64_t panels = ceil_div(m_, kernel_.panel);
    const double cycles = kCyclesOfAGroup * static_cast<double>(m_) * static_cast<double>(k_) / 64;
    const int64_t worth = static_cast<int64_t>(cycles / kCyclesOfATask) + 1;
    const int64_t wanted = pool.size() == 1 ? 1 : std::min<int64_t>(4 * pool.size(), worth);
    const int64_t tasks = std::min(panels, wanted);
    const auto workspace =
        round_up(static_cast<int64_t>(kernel_.workspace_bytes(args.geometry)), 64);
    Buffer workspaces(workspace * pool.size());
    pool.parallel_for(tasks, [&](int64_t task, int thread) {
      ConvS8Args mine = args;
      mine.workspace = workspaces.as<char>() + workspace * thread;
      kernel_.run(mine, 0, 1, panels * task / tasks, panels * (task + 1) / tasks);
    });
  }

  BitmapS8Kernel kernel_;
  int64_t m_, k_;
  Buffer packed_;
};

}  // namespace

void bind_sparse_bitmap(py::module_& m) {
  py::class_<SpmmBitmap>(m, "SpmmBitmap")
      .def(py::init<const Array<int32_t>&, const Array<int32_t>&, const Array<int8_t>&, int64_t,
                    const std::string&>(),
           py::arg("row_begin").noconvert(), py::arg("columns").noconvert(),
           py::arg("values").noconvert(), py::arg("k"), py::arg("isa"))
      .def_property_readonly("bytes", &SpmmBitmap::bytes)
      .def("run", &SpmmBitmap::run, py::arg("x"), py::arg("type"), py::arg("threads"),
           py::arg("transposed") = false, py::arg("multiplier").noconvert() = py::none(),
           py::arg("bias").noconvert() = py::none(), py::arg("lo") = -INFINITY,
           py::arg("hi") = INFINITY);
}
