// Static range coding (rANS: J. Duda, arXiv:1311.2540) of symbols of 1 to 8 bits, order 0.
//
// A stream is a table, the lanes' states (u32 each), and 16-bit words, all little-endian. Symbol i
// belongs to lane i % lanes; docs/format.md has the details.
#pragma once

#include <cstdint>
#include <vector>

namespace glz {

constexpr int kRansProbabilityBits = 12;
constexpr int kRansMaxSymbolBits = 8;
constexpr int kRansMaxLevel = 49;  // level q > 0: probability about 2^((q - 1) / 4 - 12); 0: none

// Lanes are independent, so that a processor decodes several symbols at once; each costs 4 bytes.
inline int rans_lanes(int64_t count) { return count < (1 << 15) ? 1 : 8; }

// `levels` has 2^bits entries; every symbol must have a level above 0. Throws Error(kData) if not.
std::vector<uint8_t> rans_encode(const uint8_t* symbols, int64_t count, int bits,
                                 const uint8_t* levels);

// Decodes `count` symbols piece by piece from exactly `bytes` bytes. Throws Error(kArchive) saying
// what is wrong; reads nothing outside [data, data + bytes).
class RansReader {
 public:
  // Pieces are multiples of this many symbols, but for the last.
  static constexpr int64_t kPiece = 8;
  RansReader(const uint8_t* data, int64_t bytes, int bits, int64_t count);
  void read(uint8_t* symbols, int64_t count);  // at most those that are left
  void finish() const;                         // when all are read: that the stream ends there

 private:
  std::vector<uint32_t> slots_;
  const uint8_t* at_;
  const uint8_t* end_;
  int lanes_;
  uint32_t states_[kPiece];
};

// Decodes exactly `count` symbols from exactly `bytes` bytes. Throws Error(kArchive) saying what is
// wrong; reads nothing outside [data, data + bytes).
void rans_decode(const uint8_t* data, int64_t bytes, int bits, int64_t count, uint8_t* symbols);

}  // namespace glz
