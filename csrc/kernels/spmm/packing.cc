#include "packing.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "../../base/check.h"
#include "../bitmap_s8/packer.h"

namespace glz {
namespace {

constexpr int64_t kMaxSlice = 65535;
constexpr int64_t kNearBytes = 36 << 10;   // of X, in the L1 cache
constexpr int64_t kFarBytes = 384 << 10;   // in the L2 cache
constexpr double kWordsToAmortize = 24.0;  // of a row in a slice, against its sums' load and store

void put(float value, int64_t, int64_t, uint32_t* word) { std::memcpy(word, &value, sizeof value); }

void put(int8_t value, int64_t at, int64_t per_word, uint32_t* word) {
  const int64_t bits = 32 / per_word;
  const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << bits) - 1);
  *word |= (static_cast<uint32_t>(value) & mask) << (at * bits);
}

bool is_zero(float value) { return value == 0.0f; }
bool is_zero(int8_t value) { return value == 0; }

// Long slices for sparse rows, but no longer than the cache.
int64_t slice_words(int64_t depth, int64_t columns, int64_t m, int64_t words) {
  const double density = static_cast<double>(words) / std::max<double>(1.0, double(depth) * m);
  const int64_t near = kNearBytes / (columns * 4), far = kFarBytes / (columns * 4);
  const double wanted = kWordsToAmortize / std::max(density, 1e-9);
  const int64_t most = std::clamp<int64_t>(static_cast<int64_t>(std::min(wanted, 1e9)), near, far);
  const int64_t slices = std::max<int64_t>(1, (depth + most - 1) / most);
  return (depth + slices - 1) / slices;
}

// Calls fn(row, place, word) for each word that is not zero.
template <typename Value, typename Fn>
void each_word(const SpmmRows<Value>& rows, int64_t per_word, const Fn& fn) {
  for (int64_t row = 0; row < rows.m; ++row) {
    for (int32_t i = rows.row_begin[row]; i < rows.row_begin[row + 1];) {
      const int64_t place = rows.columns[i] / per_word;
      uint32_t word = 0;
      bool some = false;
      for (; i < rows.row_begin[row + 1] && rows.columns[i] / per_word == place; ++i) {
        if (is_zero(rows.values[i])) continue;
        put(rows.values[i], rows.columns[i] % per_word, per_word, &word);
        some = true;
      }
      if (some) fn(row, place, word);
    }
  }
}

template <typename Value>
void sum_rows(const SpmmRows<Value>& rows, std::vector<int32_t>* sums) {
  for (int64_t row = 0; row < rows.m; ++row) {
    for (int32_t i = rows.row_begin[row]; i < rows.row_begin[row + 1]; ++i) {
      (*sums)[row] += static_cast<int32_t>(rows.values[i]);
    }
  }
}

// Where the words begin, given how many there are, in whole groups.
void fill_begin(const std::vector<int32_t>& counts, std::vector<int32_t>* begin) {
  begin->assign(counts.size() + 1, 0);
  int64_t total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    total += round_up(counts[i], kSpmmGroup);
    GLZ_CHECK(total <= std::numeric_limits<int32_t>::max(), kUnsupported,
              "sparse matrix: packed it has more than 2^31 - 1 words");
    (*begin)[i + 1] = static_cast<int32_t>(total);
  }
}

template <typename Value>
SpmmMatrix pack(const SpmmRows<Value>& rows, int64_t per_word, int64_t columns, bool one_column) {
  SpmmMatrix to;
  SpmmPacked& view = to.view;
  view.m = rows.m;
  view.depth = (rows.k + per_word - 1) / per_word;
  int64_t count = 0;
  each_word(rows, per_word, [&](int64_t, int64_t, uint32_t) { ++count; });
  view.slice = one_column ? std::min(view.depth, kMaxSlice)
                          : slice_words(view.depth, columns, rows.m, count);
  view.slices = view.slice > 0 ? (view.depth + view.slice - 1) / view.slice : 1;

  std::vector<int32_t> next(view.slices * rows.m);
  each_word(rows, per_word, [&](int64_t row, int64_t place, uint32_t) {
    ++next[place / view.slice * rows.m + row];
  });
  fill_begin(next, &to.begin);
  const int64_t stored = to.begin.back();
  to.words = Buffer(stored * sizeof(uint32_t));
  to.index = Buffer(stored * sizeof(uint16_t));
  auto* words = to.words.as<uint32_t>();
  auto* index = to.index.as<uint16_t>();
  std::fill_n(words, stored, 0u);
  std::fill_n(index, stored, static_cast<uint16_t>(view.slice));
  std::copy(to.begin.begin(), to.begin.end() - 1, next.begin());
  each_word(rows, per_word, [&](int64_t row, int64_t place, uint32_t word) {
    const int32_t at = next[place / view.slice * rows.m + row]++;
    words[at] = word;
    index[at] = static_cast<uint16_t>(place % view.slice);
  });
  to.sums.assign(rows.m, 0);
  if (sizeof(Value) == 1) sum_rows(rows, &to.sums);
  view.begin = to.begin.data();
  view.sums = to.sums.data();
  view.words = words;
  view.index = index;
  return to;
}

}  // namespace

int64_t SpmmMatrix::bytes() const {
  return static_cast<int64_t>(4 * (begin.size() + sums.size()) + words.size() + index.size());
}

Buffer spmm_bitmap(const SpmmRows<int8_t>& rows) {
  constexpr int64_t kPerWord = 4;
  BitmapLayout layout(rows.m, rows.k);
  each_word(rows, kPerWord,
            [&](int64_t row, int64_t place, uint32_t word) { layout.count(row, word, place); });
  std::vector<int32_t> start(rows.m, 0);
  sum_rows(rows, &start);
  for (int32_t& sum : start) sum *= -zero_byte(ElementType::kS8);
  layout.lay_out(start);
  each_word(rows, kPerWord,
            [&](int64_t row, int64_t place, uint32_t word) { layout.put(row, word, place); });
  return layout.take();
}

SpmmMatrix spmm_pack(const SpmmRows<float>& rows, int64_t per_word, int64_t columns,
                     bool one_column) {
  return pack(rows, per_word, columns, one_column);
}
SpmmMatrix spmm_pack(const SpmmRows<int8_t>& rows, int64_t per_word, int64_t columns,
                     bool one_column) {
  return pack(rows, per_word, columns, one_column);
}

}  // namespace glz
