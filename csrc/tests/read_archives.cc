// Reads archives from standard input, each behind its length (u32), as scripts/fuzz_archive.py
// --sanitize sends them. Only Error may be thrown; sanitizers watch the rest.
#include <cstdio>
#include <memory>

#include "../base/check.h"
#include "../engine/model.h"

int main() {
  long sound = 0, refused = 0;
  uint32_t size = 0;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    // Exactly as large as the archive, so that a read past its end is seen.
    const std::unique_ptr<uint8_t[]> data(new uint8_t[size]);
    if (std::fread(data.get(), 1, size, stdin) != size) return 2;
    try {
      glz::read_archive(data.get(), size, "archive");
      ++sound;
    } catch (const glz::Error&) {
      ++refused;
    }
  }
  std::printf("sanitized reader: %ld read, %ld refused\n", sound, refused);
  return 0;
}
