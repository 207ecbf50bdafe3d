// Reads archives from standard input, each behind its length (u32), as scripts/fuzz_archive.py
// --sanitize sends them. Only Error may be thrown; sanitizers watch the rest.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "../base/check.h"
#include "../engine/model.h"

using Member = std::optional<std::string>;

// A network, or of a family the member "a" (what scripts/fuzz_archive.py calls the first).
static Member member_of(const uint8_t* data, size_t size) {
  try {
    glz::open_archive(data, size, "archive");
  } catch (const glz::Error& error) {
    if (error.kind() == glz::ErrorKind::kConfig) return "a";
  }
  return {};
}

// Elements in pieces of odd sizes; those that are decoded at once must be the same.
static void read_in_pieces(const glz::ModelTensor& opened, const glz::ModelTensor& whole) {
  const auto stream = opened.stored->open();
  const int64_t item = opened.dtype == glz::DType::kS8 ? 1 : 4;
  const int64_t count = static_cast<int64_t>(whole.data.size()) / item;
  std::vector<char> piece(4 * 777);
  for (int64_t at = 0, size = 1; at < count; at += size, size = (5 * size + 1) % 777 + 1) {
    size = std::min(size, count - at);
    stream->read(piece.data(), size);
    const char* same = whole.data.as<char>() + at * item;
    if (std::memcmp(piece.data(), same, static_cast<size_t>(size * item)) != 0) std::abort();
  }
  stream->finish();
}

static void read(const uint8_t* data, size_t size) {
  const Member member = member_of(data, size);
  const glz::Model whole = glz::read_archive(data, size, "archive", member);
  const glz::Model opened = glz::open_archive(data, size, "archive", member);
  for (const auto& [name, tensor] : opened.tensors) read_in_pieces(tensor, whole.tensors.at(name));
}

int main() {
  long sound = 0, refused = 0;
  uint32_t size = 0;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    // Exactly as large as the archive, so that a read past its end is seen.
    const std::unique_ptr<uint8_t[]> data(new uint8_t[size]);
    if (std::fread(data.get(), 1, size, stdin) != size) return 2;
    try {
      read(data.get(), size);
      ++sound;
    } catch (const glz::Error&) {
      ++refused;
    }
  }
  std::printf("sanitized reader: %ld read, %ld refused\n", sound, refused);
  return 0;
}
