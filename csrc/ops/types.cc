#include "types.h"

#include <sstream>

#include "../base/check.h"

namespace glz {

int64_t product(const Shape& shape, size_t begin, size_t end) {
  int64_t count = 1;
  for (size_t i = begin; i < end; ++i) {
    GLZ_CHECK(checked_mul(count, shape[i], &count), kShape,
              "shape " << to_string(shape) << " has too many elements");
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::ostringstream text;
  text << '(';
  for (size_t i = 0; i < shape.size(); ++i) text << (i ? ", " : "") << shape[i];
  text << (shape.size() == 1 ? ",)" : ")");
  return text.str();
}

size_t resolve_axis(int64_t axis, size_t rank, const std::string& node) {
  const int64_t n = static_cast<int64_t>(rank);
  GLZ_CHECK(axis >= -n && axis < n, kShape,
            node << ": axis " << axis << " is outside a tensor of rank " << n);
  return static_cast<size_t>(axis < 0 ? axis + n : axis);
}

}  // namespace glz
