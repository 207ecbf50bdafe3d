#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

void bind_errors(pybind11::module_& m);  // glz::Error becomes gluonzip.errors' classes
void bind_cpu(pybind11::module_& m);
void bind_archive(pybind11::module_& m);
void bind_calibration(pybind11::module_& m);  // histograms of activations
void bind_arrays(pybind11::module_& m);       // raw operators
void bind_sparse_bitmap(pybind11::module_& m);
void bind_sparse(pybind11::module_& m);  // sparse products
void bind_testing(pybind11::module_& m);
void bind_kernels(pybind11::module_& m);  // single kernels, for tests and benchmarks
void bind_engine(pybind11::module_& m);
