// The index of an archive, parsed and checked. Mirrors gluonzip/archive/index.py.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model.h"

namespace glz {

enum class Positions { kDense, kBitmap, kGap };

enum class CodingKind { kRaw, kPacked, kRans };

// How a stream of values is stored: little-endian, `bits` bits each, or entropy-coded in `length`
// bytes. With entries > 0 these are indices into a codebook, whose floats come first; if fixed,
// integers that 2^exponent multiplies.
struct Coding {
  CodingKind kind = CodingKind::kRaw;
  int64_t bits = 0;
  int64_t length = 0;
  int64_t entries = 0;
  bool fixed = false;
  int64_t exponent = 0;
  int64_t bytes(int64_t count, int64_t itemsize) const;
};

struct Encoding {
  Positions positions = Positions::kDense;
  Coding values;
  int64_t nonzeros = 0;
  int64_t symbols = 0;
  Coding gaps;
  int64_t position_bytes(int64_t elements) const;
  int64_t value_bytes(int64_t elements, int64_t itemsize) const;
};

struct TensorEntry {
  ModelTensor tensor;  // all but its data
  int64_t elements = 0;
  Encoding encoding;
  int64_t length = 0;
  uint32_t crc = 0;
  bool quantized = false;
};

struct MetaEntry {
  int64_t length = 0, size = 0;
  uint32_t crc = 0;
};

// A network of a family: tensors by number, and what it calls them.
struct MemberEntry {
  std::string name;
  std::vector<std::pair<int64_t, std::string>> uses;
};

struct ArchiveIndex {
  std::vector<Model> models;  // without tensors; one, or one for each member
  std::vector<TensorEntry> tensors;
  MetaEntry meta;  // all zero: none
  bool family = false;
  std::vector<MemberEntry> members;  // of a family
};

// A name from a file as messages show it: no control characters reach a terminal.
std::string quoted(const std::string& name);

int64_t stored_item_bytes(DType dtype);
int64_t decoded_item_bytes(DType dtype);  // f16 is widened

// Throws Error(kArchive).
ArchiveIndex read_index(const uint8_t* data, int64_t size);

}  // namespace glz
