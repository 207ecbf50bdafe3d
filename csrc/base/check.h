// Errors and checked arithmetic. Every error names the value, layer or file at fault.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace glz {

// Which class of gluonzip/errors.py an Error becomes in Python.
enum class ErrorKind { kConfig, kData, kShape, kGraph, kUnsupported, kArchive, kIsa };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// GLZ_CHECK(n > 0, kShape, "gemm_s8: N is " << n << ", must be positive");
#define GLZ_CHECK(condition, error_kind, message)                          \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::ostringstream glz_message;                                      \
      glz_message << message;                                              \
      throw ::glz::Error(::glz::ErrorKind::error_kind, glz_message.str()); \
    }                                                                      \
  } while (0)

// a * b and a + b as int64; false when the result does not fit or an operand is negative.
inline bool checked_mul(int64_t a, int64_t b, int64_t* out) {
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out);
}
inline bool checked_add(int64_t a, int64_t b, int64_t* out) {
  return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, out);
}

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
inline int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

}  // namespace glz
