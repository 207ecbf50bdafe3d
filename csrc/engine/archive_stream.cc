#include "archive_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "value_stream.h"

namespace glz {
namespace {

constexpr int64_t kBlock = 2048;  // elements whose places are found together

// Where in a tensor its values are, block after block: every element; those of a set bit; those
// behind runs of zeros. find() stores the places of values within the next `count` elements, at
// most kBlock, and returns their number; in all never more than the index says.
class Everywhere {
 public:
  static constexpr bool kDense = true;
  Everywhere(const TensorEntry&, const uint8_t*) {}
  int64_t find(int64_t count, int32_t*) { return count; }
  void finish() {}
};

class Bitmap {
 public:
  static constexpr bool kDense = false;
  Bitmap(const TensorEntry& entry, const uint8_t* data)
      : data_(data), bytes_((entry.elements + 7) / 8) {
    check_padding(data, bytes_, entry.elements);
    int64_t marked = 0;
    for (int64_t i = 0; i < bytes_; ++i) marked += __builtin_popcount(data[i]);
    const int64_t nonzeros = entry.encoding.nonzeros;
    GLZ_CHECK(marked == nonzeros, kArchive,
              "the bitmap marks " << marked << " values, the index says " << nonzeros);
  }

  int64_t find(int64_t count, int32_t* places) {
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += 8) {
      unsigned bits = window(at_ + i);
      if (count - i < 8) bits &= (1u << (count - i)) - 1;
      for (; bits != 0; bits &= bits - 1) {
        places[found++] = static_cast<int32_t>(i + __builtin_ctz(bits));
      }
    }
    at_ += count;
    return found;
  }
  void finish() {}

 private:
  // Eight bits from bit `at` on; those behind the last are zero.
  unsigned window(int64_t at) const {
    const int64_t byte = at >> 3;
    const unsigned low = data_[byte], high = byte + 1 < bytes_ ? data_[byte + 1] : 0;
    return (low | high << 8) >> (at & 7) & 0xFF;
  }

  const uint8_t* data_;
  int64_t bytes_, at_ = 0;
};

class Gaps {
 public:
  static constexpr bool kDense = false;
  Gaps(const TensorEntry& entry, const uint8_t* data)
      : elements_(entry.elements),
        nonzeros_(entry.encoding.nonzeros),
        escape_((1u << entry.encoding.gaps.bits) - 1),
        symbols_(entry.encoding.gaps, data, entry.encoding.gaps.bytes(entry.encoding.symbols, 2),
                 entry.encoding.symbols) {}

  int64_t find(int64_t count, int32_t* places) {
    int64_t at = 0, found = 0;
    do {
      const int64_t end = at + run_;
      if (end + value_ > count) {  // goes on in the next block
        run_ = end - count;
        return found;
      }
      at = end;
      if (value_) places[found++] = static_cast<int32_t>(at++);
    } while (next_symbol());
    return found;
  }

  void finish() {
    while (refill()) {
    }
    symbols_.finish();
    GLZ_CHECK(placed_ == nonzeros_, kArchive,
              "the gaps place " << placed_ << " values, the index says " << nonzeros_);
    GLZ_CHECK(end_ <= elements_, kArchive,
              "the gaps run past the tensor's " << elements_ << " elements");
  }

 private:
  bool next_symbol() {
    run_ = 0;
    value_ = false;
    if (at_ == filled_ && !refill()) return false;
    run_ = block_[at_++];
    value_ = run_ != escape_;
    return true;
  }

  bool refill() {
    at_ = 0;
    filled_ = std::min<int64_t>(block_.size(), symbols_.left());
    uint16_t* block = block_.data();
    symbols_.next(filled_,
                  [=](int64_t i, uint32_t symbol) { block[i] = static_cast<uint16_t>(symbol); });
    int64_t escapes = 0;
    for (int64_t i = 0; i < filled_; ++i) {
      end_ += block[i];
      escapes += block[i] == escape_;
    }
    placed_ += filled_ - escapes;
    end_ += filled_ - escapes;
    if (placed_ > nonzeros_ && !over_) {
      over_ = true;
      finish();  // throws: how many there are in all
    }
    return filled_ > 0;
  }

  const int64_t elements_, nonzeros_;
  const uint32_t escape_;
  IntegerStream symbols_;
  std::array<uint16_t, 1024> block_;  // of symbols, from at_ to filled_
  int64_t at_ = 0, filled_ = 0;
  int64_t run_ = 0;  // zeros before the next value, or what an escape stands for
  bool value_ = false, over_ = false;
  int64_t placed_ = 0, end_ = 0;  // by the symbols up to here
};

// The codes of a quantized tensor as they are stored, which stay within their range, to what they
// are: one bit holds the integers 0 and -1, which stand for the binary codes 1 and -1.
class CodeRange {
 public:
  explicit CodeRange(const TensorEntry& entry)
      : quantized_(entry.quantized),
        binary_(entry.quantized && entry.tensor.bits == 1),
        limit_((1 << (entry.tensor.bits - 1)) - 1) {}

  void pass(int8_t* codes, int64_t count) {
    if (!quantized_) return;
    int8_t low = low_, high = high_;
    for (int64_t i = 0; i < count; ++i) {
      low = std::min(low, codes[i]);
      high = std::max(high, codes[i]);
    }
    low_ = low;
    high_ = high;
    if (!binary_) return;
    for (int64_t i = 0; i < count; ++i) codes[i] = codes[i] == 0 ? 1 : -1;
  }
  void pass(void*, int64_t) {}

  void finish() const {
    GLZ_CHECK(!binary_ || (-1 <= low_ && high_ <= 0), kArchive,
              "a binary code is stored as neither 0 nor -1");
    GLZ_CHECK(!quantized_ || binary_ || (-limit_ <= low_ && high_ <= limit_), kArchive,
              "a code is outside [-" << limit_ << ", " << limit_ << "]");
  }

 private:
  const bool quantized_, binary_;
  const int limit_;
  int8_t low_ = 0, high_ = 0;
};

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

void widen_all(const uint16_t* halves, int64_t count, char* out) {
  std::transform(halves, halves + count, reinterpret_cast<uint32_t*>(out), widen);
}

// Of the values and their places, whose faults are told in this order whenever they show.
template <typename Places, typename T>
Places made_places(const TensorEntry& entry, const uint8_t* section, ValueStream<T>* values) {
  try {
    return Places(entry, section);
  } catch (const Error&) {
    values->finish();
    throw;
  }
}

// T: an integer of the stored item's size.
template <typename Places, typename T>
class SectionStream final : public ElementStream {
 public:
  SectionStream(const TensorEntry& entry, const uint8_t* section)
      : values_(entry.encoding.values,
                entry.tensor.dtype == DType::kF32 || entry.tensor.dtype == DType::kF16,
                section + entry.encoding.position_bytes(entry.elements),
                Places::kDense ? entry.elements : entry.encoding.nonzeros),
        places_(made_places<Places>(entry, section, &values_)),
        codes_(entry) {}

  void read(void* out, int64_t count) override {
    auto* to = static_cast<char*>(out);
    for (int64_t block; count > 0; count -= block) {
      block = std::min(count, kBlock);
      if constexpr (sizeof(T) == 2) {
        std::array<T, kBlock> halves;
        read_block(halves.data(), block);
        widen_all(halves.data(), block, to);
        to += 4 * block;
      } else {
        read_block(reinterpret_cast<T*>(to), block);
        to += static_cast<int64_t>(sizeof(T)) * block;
      }
    }
  }

  void finish() override {
    values_.finish();
    places_.finish();
    codes_.finish();
  }

 private:
  void read_block(T* out, int64_t count) {
    if constexpr (Places::kDense) {
      values_.read(out, count);
    } else {
      const int64_t found = find(count);
      values_.read(block_.data(), found);
      std::fill(out, out + count, T(0));
      for (int64_t i = 0; i < found; ++i) out[at_[i]] = block_[i];
    }
    codes_.pass(out, count);
  }

  int64_t find(int64_t count) {
    try {
      return places_.find(count, at_.data());
    } catch (const Error&) {
      values_.finish();
      throw;
    }
  }

  ValueStream<T> values_;
  Places places_;
  CodeRange codes_;
  std::array<int32_t, Places::kDense ? 1 : kBlock> at_;
  std::array<T, Places::kDense ? 1 : kBlock> block_;
};

template <typename T>
std::unique_ptr<ElementStream> make_stream(const TensorEntry& entry, const uint8_t* section) {
  switch (entry.encoding.positions) {
    case Positions::kDense:
      return std::make_unique<SectionStream<Everywhere, T>>(entry, section);
    case Positions::kBitmap:
      return std::make_unique<SectionStream<Bitmap, T>>(entry, section);
    default:
      return std::make_unique<SectionStream<Gaps, T>>(entry, section);
  }
}

}  // namespace

std::unique_ptr<ElementStream> stream_section(const TensorEntry& entry, const uint8_t* section) {
  switch (entry.tensor.dtype) {
    case DType::kS8:
      return make_stream<int8_t>(entry, section);
    case DType::kF16:
      return make_stream<uint16_t>(entry, section);
    default:
      return make_stream<int32_t>(entry, section);
  }
}

}  // namespace glz
