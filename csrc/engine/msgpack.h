// A cursor over MessagePack: one value at a time, no recursion, nothing allocated, no byte read
// past the end. Mirrors gluonzip/archive/msgpack.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "../base/check.h"

namespace glz {

class MsgpackCursor {
 public:
  enum class Kind { kNil, kBool, kInt, kFloat, kString, kBinary, kArray, kMap };

  struct Token {
    Kind kind = Kind::kNil;
    bool boolean = false;
    bool over_int64 = false;  // an integer of 2^63 or more
    int64_t integer = 0;      // kInt; kArray and kMap: how many items follow
    double real = 0;
    std::string_view bytes;  // kString (valid UTF-8), kBinary
  };

  MsgpackCursor(const uint8_t* data, int64_t size) : at_(data), end_(data + size) {}

  int64_t left() const { return end_ - at_; }
  Token token();

  Token expect(Kind kind, const std::string& what);
  int64_t integer(const std::string& what, int64_t low, int64_t high);
  int64_t array(const std::string& what, int64_t length = -1);  // -1: any
  int64_t int64(const Token& token, const std::string& what) const;

  // Names the part being read, for messages.
  std::string where = "index";
  [[noreturn]] void fail(const std::string& message) const;

 private:
  uint64_t big_endian(int bytes);
  std::string_view take(uint64_t length);
  Token sized(Kind kind, uint64_t length);

  const uint8_t* at_;
  const uint8_t* end_;
};

bool valid_utf8(std::string_view text);

}  // namespace glz
