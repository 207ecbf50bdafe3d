#include "rans.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "check.h"

namespace glz {
namespace {

constexpr uint32_t kTotal = 1u << kRansProbabilityBits;
constexpr uint32_t kLowest = 1u << 16;  // states are in [2^16, 2^32) between symbols
constexpr int kMaxLanes = RansReader::kPiece;

// ---------------------------------------------------------------- frequencies
// Levels to frequencies that sum to 2^12: in proportion, rounded down, at least 1; what is left
// over or was taken too much is the most frequent symbol's (the first of them).
std::vector<uint32_t> frequencies(const std::vector<uint8_t>& levels) {
  static constexpr uint64_t kQuarters[4] = {32768, 38968, 46341, 55109};  // 2^(15 + i/4)
  std::vector<uint64_t> weights(levels.size(), 0);
  for (size_t i = 0; i < levels.size(); ++i) {
    const int step = levels[i] - 1;
    if (step >= 0) weights[i] = kQuarters[step % 4] << (step / 4);
  }
  const uint64_t total = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  GLZ_CHECK(total > 0, kArchive, "the table of probabilities has no symbol");
  std::vector<uint32_t> out(levels.size(), 0);
  int64_t left = kTotal;
  for (size_t i = 0; i < levels.size(); ++i) {
    if (weights[i] > 0) out[i] = std::max<uint32_t>(1, weights[i] * kTotal / total);
    left -= out[i];
  }
  uint32_t& most = *std::max_element(out.begin(), out.end());
  GLZ_CHECK(left + most >= 1, kArchive, "the table of probabilities does not add up");
  most = static_cast<uint32_t>(most + left);
  return out;
}

// ---------------------------------------------------------------- table
// Each level's difference from the one before as an Elias gamma code, least significant bit first.
class BitWriter {
 public:
  void bit(bool value) {
    if (used_ % 8 == 0) bytes.push_back(0);
    bytes.back() |= static_cast<uint8_t>(value << (used_++ % 8));
  }
  void gamma(uint32_t value) {  // value >= 1
    const int length = 31 - __builtin_clz(value);
    for (int i = 0; i < length; ++i) bit(false);
    bit(true);
    for (int i = 0; i < length; ++i) bit(value >> i & 1);
  }
  std::vector<uint8_t> bytes;

 private:
  int64_t used_ = 0;
};

std::vector<uint8_t> write_table(const std::vector<uint8_t>& levels) {
  BitWriter writer;
  int before = 0;
  for (const int level : levels) {
    const int step = level - before;
    writer.gamma(static_cast<uint32_t>(step > 0 ? 2 * step : 1 - 2 * step));
    before = level;
  }
  return writer.bytes;
}

class BitReader {
 public:
  BitReader(const uint8_t* data, int64_t bytes) : data_(data), bits_(8 * bytes) {}
  bool bit() {
    GLZ_CHECK(used_ < bits_, kArchive, "the table of probabilities is cut short");
    const bool value = data_[used_ / 8] >> (used_ % 8) & 1;
    ++used_;
    return value;
  }
  uint32_t gamma() {
    int length = 0;
    while (!bit()) {
      GLZ_CHECK(++length < 8, kArchive, "the table of probabilities is malformed");
    }
    uint32_t value = 1u << length;
    for (int i = 0; i < length; ++i) value |= static_cast<uint32_t>(bit()) << i;
    return value;
  }
  // Bytes read, of which the last must be padded with zeros.
  int64_t finish() {
    while (used_ % 8 != 0) {
      GLZ_CHECK(!bit(), kArchive, "padding bits at the end are not zero");
    }
    return used_ / 8;
  }

 private:
  const uint8_t* data_;
  int64_t bits_, used_ = 0;
};

std::vector<uint8_t> read_table(const uint8_t* data, int64_t bytes, int bits, int64_t* used) {
  BitReader reader(data, bytes);
  std::vector<uint8_t> levels(size_t{1} << bits);
  int level = 0;
  for (uint8_t& out : levels) {
    const auto code = static_cast<int>(reader.gamma());
    level += code % 2 == 0 ? code / 2 : -(code / 2);
    GLZ_CHECK(level >= 0 && level <= kRansMaxLevel, kArchive,
              "the table of probabilities is malformed");
    out = static_cast<uint8_t>(level);
  }
  *used = reader.finish();
  return levels;
}

// ---------------------------------------------------------------- decoding
// For each of the 2^12 slots: the symbol, its frequency - 1, and the slot's place within it.
std::vector<uint32_t> slots_of(const std::vector<uint32_t>& frequency) {
  std::vector<uint32_t> slots(kTotal);
  uint32_t* next = slots.data();
  for (uint32_t symbol = 0; symbol < frequency.size(); ++symbol) {
    for (uint32_t place = 0; place < frequency[symbol]; ++place) {
      *next++ = symbol | (frequency[symbol] - 1) << 8 | place << 20;
    }
  }
  return slots;
}

struct Decoder {
  const uint32_t* slots;
  const uint8_t* at;
  const uint8_t* end;

  // Takes one symbol off `state`. Checked: whether two bytes are left must be asked first.
  template <bool checked>
  uint8_t next(uint32_t* state) {
    const uint32_t slot = slots[*state & (kTotal - 1)];
    uint32_t x = ((slot >> 8 & 0xFFF) + 1) * (*state >> kRansProbabilityBits) + (slot >> 20);
    if (checked) {
      GLZ_CHECK(x >= kLowest || end - at >= 2, kArchive, "the coded values are cut short");
      if (x >= kLowest) {
        *state = x;
        return static_cast<uint8_t>(slot);
      }
    }
    // Without a branch, which would be mispredicted every few symbols.
    uint16_t word;
    std::memcpy(&word, at, 2);
    const uint32_t low = x < kLowest;
    *state = x << (16 * low) | (word & (0u - low));
    at += 2 * low;
    return static_cast<uint8_t>(slot);
  }
};

template <int lanes>
void decode_lanes(Decoder* decoder, uint32_t* initial, int64_t count, uint8_t* symbols) {
  uint32_t states[lanes];
  std::copy(initial, initial + lanes, states);
  Decoder local = *decoder;
  int64_t i = 0;
  for (; i + lanes <= count && local.end - local.at >= 2 * lanes; i += lanes) {
    for (int lane = 0; lane < lanes; ++lane) symbols[i + lane] = local.next<false>(&states[lane]);
  }
  for (; i < count; ++i) symbols[i] = local.next<true>(&states[i % lanes]);
  std::copy(states, states + lanes, initial);
  *decoder = local;
}

}  // namespace

RansReader::RansReader(const uint8_t* data, int64_t bytes, int bits, int64_t count)
    : at_(data), end_(data + bytes), lanes_(0) {
  if (count == 0) return;
  int64_t used = 0;
  slots_ = slots_of(frequencies(read_table(data, bytes, bits, &used)));
  lanes_ = rans_lanes(count);
  GLZ_CHECK(bytes - used >= 4 * lanes_, kArchive, "the coded values are cut short");
  std::memcpy(states_, data + used, 4 * static_cast<size_t>(lanes_));
  const bool sound =
      std::all_of(states_, states_ + lanes_, [](uint32_t x) { return x >= kLowest; });
  GLZ_CHECK(sound, kArchive, "the coded values start with an impossible state");
  at_ = data + used + 4 * lanes_;
}

void RansReader::read(uint8_t* symbols, int64_t count) {
  Decoder decoder = {slots_.data(), at_, end_};
  if (lanes_ == 1) {
    decode_lanes<1>(&decoder, states_, count, symbols);
  } else if (lanes_ == kMaxLanes) {
    decode_lanes<kMaxLanes>(&decoder, states_, count, symbols);
  }
  at_ = decoder.at;
}

void RansReader::finish() const {
  const bool whole =
      std::all_of(states_, states_ + lanes_, [](uint32_t x) { return x == kLowest; });
  GLZ_CHECK(whole && at_ == end_, kArchive, "the coded values do not end where they should");
}

void rans_decode(const uint8_t* data, int64_t bytes, int bits, int64_t count, uint8_t* symbols) {
  RansReader reader(data, bytes, bits, count);
  reader.read(symbols, count);
  reader.finish();
}

// ---------------------------------------------------------------- encoding
std::vector<uint8_t> rans_encode(const uint8_t* symbols, int64_t count, int bits,
                                 const uint8_t* levels) {
  if (count == 0) return {};
  const std::vector<uint8_t> all(levels, levels + (size_t{1} << bits));
  const std::vector<uint32_t> frequency = frequencies(all);
  std::vector<uint32_t> start(frequency.size() + 1, 0);
  std::partial_sum(frequency.begin(), frequency.end(), start.begin() + 1);

  const int lanes = rans_lanes(count);
  uint32_t states[kMaxLanes];
  std::fill(states, states + lanes, kLowest);
  std::vector<uint16_t> words;  // last first
  for (int64_t i = count - 1; i >= 0; --i) {
    const size_t symbol = symbols[i];
    GLZ_CHECK(symbol < frequency.size() && frequency[symbol] > 0, kData,
              "symbol " << symbol << " has no probability");
    uint32_t& x = states[i % lanes];
    const uint64_t f = frequency[symbol];
    if (x >= f << (32 - kRansProbabilityBits)) {
      words.push_back(static_cast<uint16_t>(x));
      x >>= 16;
    }
    x = static_cast<uint32_t>((x / f << kRansProbabilityBits) + x % f + start[symbol]);
  }

  std::vector<uint8_t> out = write_table(all);
  const auto append = [&](uint32_t value, int size) {
    for (int i = 0; i < size; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  for (int lane = 0; lane < lanes; ++lane) append(states[lane], 4);
  for (auto word = words.rbegin(); word != words.rend(); ++word) append(*word, 2);
  return out;
}

}  // namespace glz
