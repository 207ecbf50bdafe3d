#include "archive_sections.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../base/check.h"
#include "../base/rans.h"
#include "archive_layout.h"

namespace glz {
namespace {

// Reads integers of 1 to 32 bits, least significant bit first.
class BitReader {
 public:
  BitReader(const uint8_t* data, int64_t bytes, int64_t bits)
      : data_(data), bytes_(bytes), bits_(bits), mask_((uint64_t{1} << bits) - 1) {}

  uint64_t next() {
    const int64_t byte = at_ >> 3;
    uint64_t window = 0;
    std::memcpy(&window, data_ + byte, static_cast<size_t>(std::min<int64_t>(8, bytes_ - byte)));
    const uint64_t value = window >> (at_ & 7) & mask_;
    at_ += bits_;
    return value;
  }

 private:
  const uint8_t* data_;
  int64_t bytes_, bits_;
  uint64_t mask_;
  int64_t at_ = 0;
};

void check_padding(const uint8_t* data, int64_t bytes, int64_t used_bits) {
  const int64_t spare = 8 * bytes - used_bits;
  GLZ_CHECK(spare == 0 || data[bytes - 1] >> (8 - spare) == 0, kArchive,
            "padding bits at the end are not zero");
}

// Unsigned integers of a packed or rans stream of `bytes` bytes; each is passed to put(i, value).
template <typename Put>
void decode_integers(const Coding& coding, const uint8_t* data, int64_t bytes, int64_t count,
                     Put put) {
  if (coding.kind == CodingKind::kRans) {
    Buffer symbols(static_cast<size_t>(count));
    const auto* begin = symbols.as<uint8_t>();
    rans_decode(data, bytes, static_cast<int>(coding.bits), count, symbols.as<uint8_t>());
    for (int64_t i = 0; i < count; ++i) put(i, begin[i]);
    return;
  }
  check_padding(data, bytes, count * coding.bits);
  BitReader reader(data, bytes, coding.bits);
  for (int64_t i = 0; i < count; ++i) put(i, static_cast<uint32_t>(reader.next()));
}

template <typename T>
void decode_codebook(const Coding& coding, const uint8_t* data, int64_t count, T* out) {
  const int64_t book_bytes = coding.entries * static_cast<int64_t>(sizeof(T));
  T book[kMaxEntries] = {};
  std::memcpy(book, data, static_cast<size_t>(book_bytes));
  uint32_t largest = 0;
  decode_integers(coding, data + book_bytes, coding.bytes(count, sizeof(T)) - book_bytes, count,
                  [&](int64_t i, uint32_t index) {
                    largest = std::max(largest, index);
                    out[i] = book[index];  // 8 bits at most
                  });
  GLZ_CHECK(largest < coding.entries, kArchive,
            "an index is past the " << coding.entries << " entries of the codebook");
}

int32_t sign_extended(uint32_t value, int64_t bits) {
  const int unused = static_cast<int>(32 - bits);
  return static_cast<int32_t>(value << unused) >> unused;
}

// T: int32_t, the bits of a float (the index allows no other).
template <typename T>
void decode_fixed(const Coding& coding, const uint8_t* data, int64_t count, T* out) {
  const double unit = std::ldexp(1.0, static_cast<int>(coding.exponent));
  decode_integers(coding, data, coding.bytes(count, sizeof(T)), count,
                  [=](int64_t i, uint32_t value) {
                    const auto real = static_cast<float>(sign_extended(value, coding.bits) * unit);
                    std::memcpy(&out[i], &real, sizeof(T));
                  });
}

// T: an integer of the stored item's size.
template <typename T>
void decode_values(const Coding& coding, bool floats, const uint8_t* data, int64_t count, T* out) {
  const int64_t bytes = coding.bytes(count, sizeof(T));
  if (coding.entries > 0) {
    decode_codebook(coding, data, count, out);
  } else if (coding.fixed) {
    decode_fixed(coding, data, count, out);
  } else if (coding.kind == CodingKind::kRaw) {
    if (bytes > 0) std::memcpy(out, data, static_cast<size_t>(bytes));
  } else {
    // Floats keep their high bits, integers are two's complement.
    const int64_t spare = floats ? 8 * static_cast<int64_t>(sizeof(T)) - coding.bits : 0;
    decode_integers(coding, data, bytes, count, [=](int64_t i, uint32_t value) {
      out[i] = floats ? static_cast<T>(value << spare)
                      : static_cast<T>(sign_extended(value, coding.bits));
    });
  }
}

// Scatters `values` to where bits are set; `out` is zeroed.
template <typename T>
void place_bitmap(const uint8_t* data, int64_t elements, const T* values, int64_t nonzeros,
                  T* out) {
  const int64_t bytes = (elements + 7) / 8;
  check_padding(data, bytes, elements);
  int64_t marked = 0;
  for (int64_t i = 0; i < bytes; ++i) marked += __builtin_popcount(data[i]);
  GLZ_CHECK(marked == nonzeros, kArchive,
            "the bitmap marks " << marked << " values, the index says " << nonzeros);
  for (int64_t i = 0; i < bytes; ++i) {
    for (unsigned byte = data[i]; byte != 0; byte &= byte - 1) {
      out[8 * i + __builtin_ctz(byte)] = *values++;
    }
  }
}

std::vector<uint16_t> decode_gaps(const Encoding& encoding, const uint8_t* data) {
  std::vector<uint16_t> symbols(static_cast<size_t>(encoding.symbols));
  decode_integers(encoding.gaps, data, encoding.gaps.bytes(encoding.symbols, 2), encoding.symbols,
                  [&](int64_t i, uint32_t symbol) { symbols[i] = static_cast<uint16_t>(symbol); });
  return symbols;
}

// Scatters `values` behind their runs of zeros; `out` is zeroed.
template <typename T>
void place_gaps(const Encoding& encoding, const uint8_t* data, int64_t elements, const T* values,
                T* out) {
  const std::vector<uint16_t> symbols = decode_gaps(encoding, data);
  const auto escape = static_cast<uint16_t>((1 << encoding.gaps.bits) - 1);
  int64_t placed = 0, end = 0;
  for (const uint16_t symbol : symbols) {
    placed += symbol != escape;
    end += symbol + (symbol != escape);
  }
  GLZ_CHECK(placed == encoding.nonzeros, kArchive,
            "the gaps place " << placed << " values, the index says " << encoding.nonzeros);
  GLZ_CHECK(end <= elements, kArchive,
            "the gaps run past the tensor's " << elements << " elements");
  for (const uint16_t symbol : symbols) {
    out += symbol;
    if (symbol != escape) *out++ = *values++;
  }
}

// T: an integer of the stored item's size.
template <typename T>
Buffer decode_as(const TensorEntry& entry, const uint8_t* section) {
  const Encoding& encoding = entry.encoding;
  const bool floats = entry.tensor.dtype == DType::kF32 || entry.tensor.dtype == DType::kF16;
  Buffer out(static_cast<size_t>(entry.elements) * sizeof(T));
  if (encoding.positions == Positions::kDense) {
    decode_values(encoding.values, floats, section, entry.elements, out.as<T>());
    return out;
  }
  if (out.size() > 0) std::memset(out.data(), 0, out.size());
  Buffer values(static_cast<size_t>(encoding.nonzeros) * sizeof(T));
  decode_values(encoding.values, floats, section + encoding.position_bytes(entry.elements),
                encoding.nonzeros, values.as<T>());
  if (encoding.positions == Positions::kBitmap) {
    place_bitmap(section, entry.elements, values.as<T>(), encoding.nonzeros, out.as<T>());
  } else {
    place_gaps(encoding, section, entry.elements, values.as<T>(), out.as<T>());
  }
  return out;
}

// IEEE binary16 to binary32, exact.
uint32_t widen(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = half >> 10 & 31, fraction = half & 0x3FF;
  if (exponent == 31) return sign | 0x7F800000u | fraction << 13;
  if (exponent == 0) {
    if (fraction == 0) return sign;
    const int shift = __builtin_clz(fraction) - 21;  // to bring its first one to bit 10
    fraction = fraction << shift & 0x3FF;
    return sign | static_cast<uint32_t>(113 - shift) << 23 | fraction << 13;
  }
  return sign | (exponent + 112) << 23 | fraction << 13;
}

Buffer widened(const Buffer& halves, int64_t count) {
  Buffer out(static_cast<size_t>(count) * 4);
  std::transform(halves.as<uint16_t>(), halves.as<uint16_t>() + count, out.as<uint32_t>(), widen);
  return out;
}

void check_codes(const TensorEntry& entry, const Buffer& codes) {
  const int limit = (1 << (entry.tensor.bits - 1)) - 1;
  const int8_t* begin = codes.as<int8_t>();
  const bool inside = std::all_of(begin, begin + entry.elements,
                                  [=](int code) { return -limit <= code && code <= limit; });
  GLZ_CHECK(inside, kArchive, "a code is outside [-" << limit << ", " << limit << "]");
}

}  // namespace

ModelTensor decode_section(const TensorEntry& entry, const uint8_t* section) {
  const ModelTensor& as = entry.tensor;
  ModelTensor tensor{as.name, as.dtype, as.shape, {}, as.scale, as.axis, as.bits, as.stored_bytes};
  switch (tensor.dtype) {
    case DType::kS8:
      tensor.data = decode_as<int8_t>(entry, section);
      if (entry.quantized) check_codes(entry, tensor.data);
      break;
    case DType::kF16:
      tensor.data = widened(decode_as<uint16_t>(entry, section), entry.elements);
      tensor.dtype = DType::kF32;
      break;
    case DType::kF32:
    case DType::kS32:
      tensor.data = decode_as<int32_t>(entry, section);
      break;
  }
  return tensor;
}

}  // namespace glz
