// Reads archives from standard input, each behind its length (u32), as scripts/fuzz_archive.py
// --sanitize sends them. Only Error may be thrown; sanitizers watch the rest.
#include <cstdio>
#include <memory>

#include "../base/check.h"
#include "../engine/model.h"

// A network, or of a family the member "a" (what scripts/fuzz_archive.py calls the first).
static void read(const uint8_t* data, size_t size) {
  try {
    glz::read_archive(data, size, "archive");
  } catch (const glz::Error& error) {
    if (error.kind() != glz::ErrorKind::kConfig) throw;
    glz::read_archive(data, size, "archive", "a");
  }
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
