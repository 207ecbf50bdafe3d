#include "msgpack.h"

#include <cstring>

namespace glz {
namespace {

const char* described(MsgpackCursor::Kind kind) {
  static const char* const kNames[] = {"nil",      "a boolean", "an integer", "a float",
                                       "a string", "binary",    "a list",     "a map"};
  return kNames[static_cast<int>(kind)];
}

// Bytes of the UTF-8 character at the start of `text`, 0 when it is not valid (Unicode 15, table
// 3-7).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first < 0xC2   ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  uint8_t low = 0x80, high = 0xBF;  // of the second byte
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void MsgpackCursor::fail(const std::string& message) const {
  throw Error(ErrorKind::kArchive, where + ": " + message);
}

std::string_view MsgpackCursor::take(uint64_t length) {
  if (length > static_cast<uint64_t>(left())) {
    fail("a value of " + std::to_string(length) + " bytes runs past the end of the index");
  }
  const auto* begin = reinterpret_cast<const char*>(at_);
  at_ += length;
  return {begin, static_cast<size_t>(length)};
}

uint64_t MsgpackCursor::big_endian(int bytes) {
  uint64_t value = 0;
  for (const char byte : take(bytes)) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

// A value of `length` bytes or items.
MsgpackCursor::Token MsgpackCursor::sized(Kind kind, uint64_t length) {
  Token token;
  token.kind = kind;
  if (kind == Kind::kString || kind == Kind::kBinary) {
    token.bytes = take(length);
    if (kind == Kind::kString && !valid_utf8(token.bytes)) fail("a string is not valid UTF-8");
    return token;
  }
  const uint64_t least = kind == Kind::kMap ? 2 * length : length;  // length < 2^32
  if (least > static_cast<uint64_t>(left())) {
    fail("a list or map of " + std::to_string(length) + " items runs past the end of the index");
  }
  token.integer = static_cast<int64_t>(length);
  return token;
}

MsgpackCursor::Token MsgpackCursor::token() {
  const auto code = static_cast<uint8_t>(take(1)[0]);
  Token token;
  if (code < 0x80 || code >= 0xE0) {
    token.kind = Kind::kInt;
    token.integer = static_cast<int8_t>(code);
    return token;
  }
  if (code < 0x90) return sized(Kind::kMap, code & 15);
  if (code < 0xA0) return sized(Kind::kArray, code & 15);
  if (code < 0xC0) return sized(Kind::kString, code & 31);
  switch (code) {
    case 0xC0:
      return token;
    case 0xC2:
    case 0xC3:
      token.kind = Kind::kBool;
      token.boolean = code == 0xC3;
      return token;
    case 0xC4:
    case 0xC5:
    case 0xC6:
      return sized(Kind::kBinary, big_endian(1 << (code - 0xC4)));
    case 0xCA: {
      const auto bits = static_cast<uint32_t>(big_endian(4));
      float value;
      std::memcpy(&value, &bits, 4);
      token.kind = Kind::kFloat;
      token.real = value;
      return token;
    }
    case 0xCB: {
      const uint64_t bits = big_endian(8);
      token.kind = Kind::kFloat;
      std::memcpy(&token.real, &bits, 8);
      return token;
    }
    case 0xCC:
    case 0xCD:
    case 0xCE:
    case 0xCF:
      token.kind = Kind::kInt;
      token.integer = static_cast<int64_t>(big_endian(1 << (code - 0xCC)));
      token.over_int64 = token.integer < 0;
      return token;
    case 0xD0:
    case 0xD1:
    case 0xD2:
    case 0xD3: {
      const int bytes = 1 << (code - 0xD0);
      const int unused = 64 - 8 * bytes;
      token.kind = Kind::kInt;
      token.integer = static_cast<int64_t>(big_endian(bytes) << unused) >> unused;
      return token;
    }
    case 0xD9:
    case 0xDA:
    case 0xDB:
      return sized(Kind::kString, big_endian(1 << (code - 0xD9)));
    case 0xDC:
    case 0xDD:
      return sized(Kind::kArray, big_endian(2 << (code - 0xDC)));
    case 0xDE:
    case 0xDF:
      return sized(Kind::kMap, big_endian(2 << (code - 0xDE)));
    default: {
      static const char* const kHex = "0123456789abcdef";
      fail(std::string("byte 0x") + kHex[code >> 4] + kHex[code & 15] +
           " is no MessagePack type that an index uses");
    }
  }
}

MsgpackCursor::Token MsgpackCursor::expect(Kind kind, const std::string& what) {
  const Token found = token();
  if (found.kind != kind) {
    fail(what + " must be " + described(kind) + ", found " + described(found.kind));
  }
  return found;
}

int64_t MsgpackCursor::int64(const Token& token, const std::string& what) const {
  if (token.over_int64) {
    fail(what + " is " + std::to_string(static_cast<uint64_t>(token.integer)) +
         ", which does not fit 64 bits with a sign");
  }
  return token.integer;
}

int64_t MsgpackCursor::integer(const std::string& what, int64_t low, int64_t high) {
  const Token found = expect(Kind::kInt, what);
  if (found.over_int64 || found.integer < low || found.integer > high) {
    const std::string value = found.over_int64
                                  ? std::to_string(static_cast<uint64_t>(found.integer))
                                  : std::to_string(found.integer);
    fail(what + " is " + value + ", must be from " + std::to_string(low) + " to " +
         std::to_string(high));
  }
  return found.integer;
}

int64_t MsgpackCursor::array(const std::string& what, int64_t length) {
  const int64_t count = expect(Kind::kArray, what).integer;
  if (length >= 0 && count != length) {
    fail(what + " must have " + std::to_string(length) + " items, has " + std::to_string(count));
  }
  return count;
}

}  // namespace glz
