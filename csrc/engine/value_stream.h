// The values of a section one piece at a time: integers, then what they stand for.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "../base/check.h"
#include "../base/rans.h"
#include "archive_index.h"
#include "archive_layout.h"

namespace glz {

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

inline void check_padding(const uint8_t* data, int64_t bytes, int64_t used_bits) {
  const int64_t spare = 8 * bytes - used_bits;
  GLZ_CHECK(spare == 0 || data[bytes - 1] >> (8 - spare) == 0, kArchive,
            "padding bits at the end are not zero");
}

// `count` unsigned integers of a packed or rans stream of `bytes` bytes.
class IntegerStream {
 public:
  IntegerStream(const Coding& coding, const uint8_t* data, int64_t bytes, int64_t count)
      : bits_(data, bytes, coding.bits), left_(count) {
    if (coding.kind == CodingKind::kRans) {
      rans_.emplace(data, bytes, static_cast<int>(coding.bits), count);
    } else {
      check_padding(data, bytes, count * coding.bits);
    }
  }

  int64_t left() const { return left_; }

  // Calls put(i, value) for the next `count` of those that are left.
  template <typename Put>
  void next(int64_t count, Put put) {
    left_ -= count;
    if (!rans_) {
      for (int64_t i = 0; i < count; ++i) put(i, static_cast<uint32_t>(bits_.next()));
      return;
    }
    for (int64_t i = 0; i < count;) {
      if (at_ == end_) refill(count - i + left_);
      const int64_t piece = std::min(count - i, end_ - at_);
      const uint8_t* from = symbols_.data() + at_;  // not a member, which put() might change
      for (int64_t k = 0; k < piece; ++k) put(i + k, uint32_t{from[k]});
      i += piece;
      at_ += piece;
    }
  }

  // Reads the rest; whether the stream ends where it should.
  void finish() {
    next(left_, [](int64_t, uint32_t) {});
    if (rans_) rans_->finish();
  }

 private:
  void refill(int64_t left) {
    at_ = 0;
    end_ = std::min<int64_t>(symbols_.size(), left);
    rans_->read(symbols_.data(), end_);
  }

  BitReader bits_;
  std::optional<RansReader> rans_;
  int64_t left_;
  std::array<uint8_t, 4096> symbols_;  // decoded, from at_ to end_
  int64_t at_ = 0, end_ = 0;
};

inline int32_t sign_extended(uint32_t value, int64_t bits) {
  const int unused = static_cast<int>(32 - bits);
  return static_cast<int32_t>(value << unused) >> unused;
}

// `count` values of one coding. T: an integer of the stored item's size.
template <typename T>
class ValueStream {
 public:
  ValueStream(const Coding& coding, bool floats, const uint8_t* data, int64_t count)
      : coding_(coding), floats_(floats), raw_(data), left_(count) {
    const int64_t book = coding.entries * static_cast<int64_t>(sizeof(T));
    if (book > 0) std::memcpy(book_.data(), data, static_cast<size_t>(book));
    if (coding.kind != CodingKind::kRaw) {
      integers_.emplace(coding, data + book, coding.bytes(count, sizeof(T)) - book, count);
    }
  }

  void read(T* out, int64_t count) {
    left_ -= count;
    if (!integers_) {
      if (count > 0) std::memcpy(out, raw_, static_cast<size_t>(count) * sizeof(T));
      raw_ += count * static_cast<int64_t>(sizeof(T));
    } else if (coding_.entries > 0) {
      read_codebook(out, count);
    } else if (coding_.fixed) {
      read_fixed(out, count);
    } else {
      read_integers(out, count);
    }
  }

  // Reads the rest; whether all was well.
  void finish() {
    std::array<T, 1024> rest;
    while (left_ > 0) read(rest.data(), std::min<int64_t>(left_, rest.size()));
    if (!integers_) return;
    integers_->finish();
    GLZ_CHECK(coding_.entries == 0 || largest_ < coding_.entries, kArchive,
              "an index is past the " << coding_.entries << " entries of the codebook");
  }

 private:
  void read_codebook(T* out, int64_t count) {
    uint32_t largest = largest_;
    integers_->next(count, [&](int64_t i, uint32_t index) {
      largest = std::max(largest, index);
      out[i] = book_[index];  // 8 bits at most
    });
    largest_ = largest;
  }

  // T: int32_t, the bits of a float (the index allows no other).
  void read_fixed(T* out, int64_t count) {
    const double unit = std::ldexp(1.0, static_cast<int>(coding_.exponent));
    const int64_t bits = coding_.bits;
    integers_->next(count, [=](int64_t i, uint32_t value) {
      const auto real = static_cast<float>(sign_extended(value, bits) * unit);
      std::memcpy(&out[i], &real, sizeof(T));
    });
  }

  // Floats keep their high bits, integers are two's complement.
  void read_integers(T* out, int64_t count) {
    const int64_t bits = coding_.bits, spare = 8 * static_cast<int64_t>(sizeof(T)) - bits;
    if (floats_) {
      integers_->next(count,
                      [=](int64_t i, uint32_t value) { out[i] = static_cast<T>(value << spare); });
    } else {
      integers_->next(count, [=](int64_t i, uint32_t value) {
        out[i] = static_cast<T>(sign_extended(value, bits));
      });
    }
  }

  const Coding coding_;
  const bool floats_;
  const uint8_t* raw_;
  int64_t left_;
  std::optional<IntegerStream> integers_;  // all but raw
  std::array<T, kMaxEntries> book_ = {};
  uint32_t largest_ = 0;
};

}  // namespace glz
