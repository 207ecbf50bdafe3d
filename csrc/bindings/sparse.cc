// Sparse products on arrays. gluonzip.runtime.sparse checks its arrays with good messages; here
// they are checked again, since what is wrong would be read outside its memory.
#include <cmath>

#include "sparse_arrays.h"

namespace py = pybind11;
using namespace glz;

namespace {

const SpmmKernel& kernel_of(Isa isa, float) { return kernel_table(isa).spmm_f32; }
const SpmmKernel& kernel_of(Isa isa, int8_t) { return kernel_table(isa).spmm_s8; }

// A sparse matrix packed for one ISA and for products of about so many columns; it is right for
// any, but one column and several are packed differently.
template <typename Value>
class Spmm {
 public:
  Spmm(const Array<int32_t>& row_begin, const Array<int32_t>& columns, const Array<Value>& values,
       int64_t k, const std::string& isa, int64_t columns_of_x)
      : kernel_(kernel_of(resolve_isa(isa), Value{})), k_(k) {
    check_rows(row_begin, columns, values.size(), k);
    check_sums(row_begin, values);
    const SpmmRows<Value> rows = {row_begin.size() - 1, k, row_begin.data(), columns.data(),
                                  values.data()};
    py::gil_scoped_release release;
    matrix_ = spmm_pack(rows, kernel_.per_word, columns_at_once(columns_of_x), columns_of_x == 1);
  }

  int64_t bytes() const { return matrix_.bytes(); }
  int64_t words() const { return matrix_.view.begin[matrix_.view.slices * matrix_.view.m]; }

  py::array run(const py::array& x, const std::string& type, int threads, bool transposed,
                const Floats& multiplier, const Floats& bias, float lo, float hi) const {
    const int64_t m = matrix_.view.m;
    const Operand from = operand<Value>(x, k_);
    check_output(m, from.n);
    const std::string sum = sizeof(Value) == 1 ? "int32" : "float32";
    GLZ_CHECK(type == sum || type == "float32" || (type == "int8" && sum == "int32"), kConfig,
              "spmm: cannot give " << type);
    py::array y = make_output(type, m, from.n, transposed);
    SpmmArgs args = {};
    args.s = matrix_.view;
    args.n = from.n;
    args.k = k_;
    args.x = from.data;
    args.x_row = from.row;
    args.x_column = from.column;
    args.y = y.mutable_data();
    args.y_row = transposed ? 1 : from.n;
    args.y_column = transposed ? m : 1;
    args.multiplier = of_rows(multiplier, m, "multiplier");
    args.bias = of_rows(bias, m, "bias");
    args.lo = lo;
    args.hi = hi;
    const bool plain = args.multiplier == nullptr && args.bias == nullptr && lo == -INFINITY &&
                       hi == INFINITY && type == sum;
    args.output = plain            ? SpmmOutput::kSum
                  : type == "int8" ? SpmmOutput::kCode
                                   : SpmmOutput::kFloat;
    ThreadPool& pool = shared_pool(threads);
    py::gil_scoped_release release;
    if (m > 0 && from.n > 0) multiply(pool, args);
    return y;
  }

 private:
  int64_t columns_at_once(int64_t columns_of_x) const {
    return std::min(kernel_.columns, round_up(std::max<int64_t>(columns_of_x, 1), 16));
  }

  // Rows are cut where their words are even; columns at the widest tile.
  void multiply(ThreadPool& pool, const SpmmArgs& args) const {
    const int64_t m = args.s.m, tiles = ceil_div(args.n, kernel_.columns);
    const double vectors = static_cast<double>(ceil_div(args.n, 16));
    const double cycles = vectors * static_cast<double>(words() + 4 * m + args.s.depth);
    const int64_t worth = static_cast<int64_t>(cycles / kCyclesOfATask) + 1;
    const int64_t wanted = std::min<int64_t>(pool.size() == 1 ? 1 : 4 * pool.size(), worth);
    const int64_t columns = std::min(tiles, wanted);
    const int64_t rows = std::min(m, columns >= pool.size() ? 1 : staged_twice(args, wanted, pool));
    const int64_t workspace = round_up(static_cast<int64_t>(kernel_.workspace_bytes(args)), 64);
    Buffer workspaces(workspace * pool.size());
    pool.parallel_for(columns * rows, [&](int64_t task, int thread) {
      SpmmArgs mine = args;
      mine.workspace = workspaces.as<char>() + workspace * thread;
      const int64_t c = task / rows, r = task % rows;
      kernel_.run(mine, row_cut(r, rows), row_cut(r + 1, rows),
                  std::min(args.n, tiles * c / columns * kernel_.columns),
                  std::min(args.n, tiles * (c + 1) / columns * kernel_.columns));
    });
  }

  // Blocks of rows. Each stages X anew, unless it is one column, so that few are best.
  static int64_t staged_twice(const SpmmArgs& args, int64_t wanted, const ThreadPool& pool) {
    return args.n == 1 ? wanted : std::min<int64_t>(wanted, pool.size());
  }

  int64_t row_cut(int64_t part, int64_t parts) const {
    const SpmmPacked& s = matrix_.view;
    if (s.slices > 1 || part == 0 || part == parts) return s.m * part / parts;
    const int64_t cut = words() * part / parts;
    return std::lower_bound(s.begin, s.begin + s.m, cut) - s.begin;
  }

  SpmmKernel kernel_;
  int64_t k_;
  SpmmMatrix matrix_;
};

// The same matrix with its zeros, for the dense kernel: rows are output channels.
template <typename Type>
class Dense {
 public:
  using Value = typename Type::Value;
  using Result = typename Type::Result;

  Dense(const Array<Value>& matrix, const std::string& isa)
      : m_(matrix.shape(0)), k_(matrix.shape(1)) {
    const Isa found = resolve_isa(isa);
    if (m_ > 0 && k_ > 0) group_.emplace(found, product_geometry(1, m_, k_), matrix.data());
  }

  int64_t bytes() const { return group_ ? static_cast<int64_t>(group_->bytes()) : 0; }

  py::array run(const py::array& x, int threads, bool transposed) const {
    const Operand from = operand<Value>(x, k_);
    check_output(m_, from.n);
    py::array y = make_output(Type::kResult == ElementType::kS32 ? "int32" : "float32", m_, from.n,
                              transposed);
    auto* to = static_cast<Result*>(y.mutable_data());
    ThreadPool& pool = shared_pool(threads);
    py::gil_scoped_release release;
    if (!group_ || from.n == 0) {
      std::fill_n(to, m_ * from.n, Result{0});
      return y;
    }
    const auto* values = static_cast<const Value*>(from.data);
    const bool by_column = from.row == 1 && from.column == k_;
    const Buffer pixels =
        by_column ? to_pixels<Type>(values, from.n, k_, 1) : rows_to_pixels(values, from);
    const ConvGeometry g = product_geometry(from.n, m_, k_);
    const auto* stored = pixels.as<typename Type::Stored>();
    if (transposed || from.n == 1) {
      group_->run(pool, g, stored, to, m_);
    } else {
      Buffer rows(m_ * from.n * sizeof(Result));
      group_->run(pool, g, stored, rows.as<Result>(), m_);
      transpose(pool, rows.as<Result>(), from.n, to);
    }
    return y;
  }

 private:
  Buffer rows_to_pixels(const Value* values, const Operand& from) const {
    if (from.column == 1 && from.row == from.n) return to_pixels<Type>(values, 1, k_, from.n);
    Buffer tight(k_ * from.n * sizeof(Value));
    for (int64_t k = 0; k < k_; ++k) {
      for (int64_t n = 0; n < from.n; ++n) {
        tight.as<Value>()[k * from.n + n] = values[k * from.row + n * from.column];
      }
    }
    return to_pixels<Type>(tight.as<Value>(), 1, k_, from.n);
  }

  void transpose(ThreadPool& pool, const Result* from, int64_t n, Result* to) const {
    constexpr int64_t kBlock = 16;
    pool.parallel_for(ceil_div(m_, kBlock), [&](int64_t block, int) {
      const int64_t first = block * kBlock, last = std::min(first + kBlock, m_);
      for (int64_t c = 0; c < n; ++c) {
        for (int64_t r = first; r < last; ++r) to[r * n + c] = from[c * m_ + r];
      }
    });
  }

  int64_t m_, k_;
  std::optional<PackedGroup<Type>> group_;
};

Array<float> sddmm(const Array<int32_t>& row_begin, const Array<int32_t>& columns,
                   const Array<float>& a, const Array<float>& b, const std::string& isa,
                   int threads) {
  GLZ_CHECK(a.ndim() == 2 && b.ndim() == 2 && a.shape(1) == b.shape(1), kShape,
            "sddmm: a and b must be matrices with as many columns");
  check_rows(row_begin, columns, columns.size(), b.shape(0));
  GLZ_CHECK(a.shape(0) == row_begin.size() - 1, kShape,
            "sddmm: a has " << a.shape(0) << " rows, the sparse matrix " << row_begin.size() - 1);
  Array<float> out(columns.size());
  const SddmmArgs args = {a.shape(1), row_begin.data(), columns.data(),
                          a.data(),   b.data(),         out.mutable_data()};
  const auto run = kernel_table(resolve_isa(isa)).sddmm.run;
  ThreadPool& pool = shared_pool(threads);
  py::gil_scoped_release release;
  const int64_t m = a.shape(0), blocks = std::min<int64_t>(m, 8 * pool.size());
  pool.parallel_for(
      blocks, [&](int64_t block, int) { run(args, m * block / blocks, m * (block + 1) / blocks); });
  return out;
}

template <typename Value>
void bind_spmm(py::module_& m, const char* name) {
  using Bound = Spmm<Value>;
  py::class_<Bound>(m, name)
      .def(py::init<const Array<int32_t>&, const Array<int32_t>&, const Array<Value>&, int64_t,
                    const std::string&, int64_t>(),
           py::arg("row_begin").noconvert(), py::arg("columns").noconvert(),
           py::arg("values").noconvert(), py::arg("k"), py::arg("isa"), py::arg("columns_of_x"))
      .def_property_readonly("bytes", &Bound::bytes)
      .def_property_readonly("words", &Bound::words)
      .def("run", &Bound::run, py::arg("x"), py::arg("type"), py::arg("threads"),
           py::arg("transposed") = false, py::arg("multiplier").noconvert() = py::none(),
           py::arg("bias").noconvert() = py::none(), py::arg("lo") = -INFINITY,
           py::arg("hi") = INFINITY);
}

template <typename Type>
void bind_packed_dense(py::module_& m, const char* name) {
  using Bound = Dense<Type>;
  py::class_<Bound>(m, name)
      .def(py::init<const Array<typename Type::Value>&, const std::string&>(),
           py::arg("matrix").noconvert(), py::arg("isa"))
      .def_property_readonly("bytes", &Bound::bytes)
      .def("run", &Bound::run, py::arg("x"), py::arg("threads"), py::arg("transposed") = false);
}

}  // namespace

void bind_sparse(py::module_& m) {
  bind_spmm<float>(m, "SpmmF32");
  bind_spmm<int8_t>(m, "SpmmS8");
  bind_sparse_bitmap(m);
  bind_packed_dense<F32>(m, "PackedDenseF32");
  bind_packed_dense<S8>(m, "PackedDenseS8");
  m.def("sddmm", &sddmm, py::arg("row_begin").noconvert(), py::arg("columns").noconvert(),
        py::arg("a").noconvert(), py::arg("b").noconvert(), py::arg("isa") = "",
        py::arg("threads") = 0);
}
