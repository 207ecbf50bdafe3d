// CRC-32 (IEEE 802.3, as in zlib), eight bytes at a time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace glz {

uint32_t crc32(const uint8_t* data, size_t size);

}  // namespace glz
