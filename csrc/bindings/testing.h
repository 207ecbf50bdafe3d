#pragma once

#include <string>

#include "../kernels/epilogue.h"
#include "module.h"

glz::ElementType glz_element_type(const std::string& name);  // f32, s8, u8 or s32

void bind_testing_eltwise(pybind11::module_& m);
void bind_testing_threads(pybind11::module_& m);
