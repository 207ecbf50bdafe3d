// Dense or sparse: decided for each layer when its weights are packed.
#pragma once

#include <map>
#include <string>

#include "../kernels/conv_s8/contract.h"
#include "../kernels/sparse_conv/packer.h"
#include "../kernels/table.h"

namespace glz {

enum class SparsePolicy { kAuto, kAlways, kNever };

// The environment variable GLUONZIP_SPARSE: auto (the default), always, never. Throws kConfig for
// anything else.
SparsePolicy sparse_policy();

// What a layer is made of, as counts of what costs time: name -> how often. `words`: of 32 bits,
// those that have a weight other than zero; `form`: how its weights are cut. Rows (n, oh, ow) of
// which there are none are not known.
using CostCounts = std::map<std::string, double>;
CostCounts dense_counts(const ConvGeometry& g, bool integer);
CostCounts sparse_counts(const ConvGeometry& g, bool integer, double words, SparseForm form);
// The form of a layer's weights, if this is all of it.
SparseForm sparse_form_of(const ConvGeometry& g);
// The same of int8 weights as a bitmap, so many of them not zero. For has_one_row() only.
CostCounts bitmap_counts(const ConvGeometry& g, double weights);
// Whether it is a product of one row, whose weights may be a bitmap.
bool has_one_row(const ConvGeometry& g);

// Nanoseconds of each of those, one core: measured where gluonzip was developed (AVX-512), or
// here, by `gluonzip bench --calibrate`. set_sparse_costs() throws kConfig unless exactly the names
// of sparse_costs() are given, each with a finite number that is not negative.
std::map<std::string, double> sparse_costs(bool integer);
void set_sparse_costs(bool integer, const std::map<std::string, double>& costs);

// The estimated time of a sparse layer, or of a part of it (in the form of the whole), on one core.
double sparse_nanoseconds(const ConvGeometry& g, bool integer, double words, SparseForm form);
double bitmap_nanoseconds(const ConvGeometry& g, double weights);

// What it costs beyond that to read its inputs from a far cache once, as each of its tasks does:
// scattered lines, if there are strides.
double sparse_read_nanoseconds(const ConvGeometry& g, bool integer);

struct SparseChoice {
  bool sparse = false;
  bool bitmap = false;  // of the sparse forms, this one
  std::string why;      // "25% of 36864 words; estimated at 0.52 of the dense kernel's time"
};

// Which sparse kernels were written for an ISA.
struct SparseKernels {
  bool words = false, bitmap = false;
};

// What is faster by the estimate, or what the policy says.
SparseChoice choose_sparse(const ConvGeometry& g, bool integer, SparseSize size,
                           SparseKernels kernels, SparsePolicy policy);

}  // namespace glz
