// Weights of convolutions and dense layers in the layout that no CPU owns, an output channel at a
// time: from memory, or straight from the archive, where no more than one row is ever decoded.
#pragma once

#include <vector>

#include "constants.h"
#include "types.h"

namespace glz {

// A weight's rows, [channels][taps] for each output channel, as they come to be: [taps][stride],
// zeros between channels and stride.
struct RowOrder {
  int64_t channels = 0, taps = 1, stride = 0;
  int64_t from() const { return channels * taps; }
  int64_t to() const { return taps * stride; }
};

// [out][kh][kw][channels], int8 codes or float values.
struct Filter {
  int64_t out = 0;       // output channels of all groups
  int64_t channels = 0;  // input channels of one group
  int64_t kh = 1, kw = 1;
  int64_t groups = 1;
  bool integer = false;
  std::vector<float> scale;  // of each output channel's codes
  float factor = 1.0f;       // of float values

  // All of them in memory, or rows of a tensor whose first axis counts output channels.
  std::vector<int8_t> codes;
  std::vector<float> values;
  const ModelTensor* weight = nullptr;
  RowOrder order;

  int64_t taps() const { return kh * kw; }
  int64_t row() const { return taps() * channels; }
  bool quantized() const { return integer; }
};

// A filter without weights for `weight`: codes if both the input and the weight are int8, else
// values. `out_axis` is the weight's axis of output channels, `out` the output channels of all
// groups.
Filter empty_filter(const TensorType& x, const ModelTensor& weight, int64_t out_axis, int64_t out,
                    int64_t channels, int64_t taps_h, int64_t taps_w, int64_t groups,
                    const std::string& label);

// Fills a filter from a weight seen as [d0][d1][taps]: element (i, j, t) goes to place(i, j, t).
template <typename Place>
void fill_filter(Filter* filter, const ModelTensor& weight, int64_t d0, int64_t d1, int64_t taps,
                 Place place) {
  const auto copy = [&](const auto* from, auto* to) {
    to->resize(filter->out * filter->row());
    for (int64_t i = 0; i < d0; ++i) {
      for (int64_t j = 0; j < d1; ++j) {
        for (int64_t t = 0; t < taps; ++t) (*to)[place(i, j, t)] = *from++;
      }
    }
  };
  if (filter->quantized()) {
    copy(weight.data.as<int8_t>(), &filter->codes);
  } else {
    copy(real_values(weight).data(), &filter->values);
  }
}

// Whether FilterRows reads it from the archive: one scale, or scales along the first axis.
bool streams_rows(const ModelTensor& weight);

// One pass over the rows of a filter. Weight: int8_t if it is quantized, else float.
template <typename Weight>
class FilterRows {
 public:
  explicit FilterRows(const Filter& filter);
  // The next output channel; valid until the next call. Not more often than there are.
  const Weight* next();
  // After the last: throws what was wrong with the archive.
  void finish();

 private:
  const void* next_stored();
  const float* real(const int8_t* codes);
  template <typename Stored>
  const Stored* ordered(const Stored* from, std::vector<Stored>* to) const;

  const Filter& filter_;
  int64_t at_ = 0;
  std::unique_ptr<ElementStream> stream_;
  std::vector<float> whole_;  // of a tensor with scales along another axis
  std::vector<char> stored_;
  std::vector<float> real_;
  std::vector<Weight> row_;
};

// Calls fn(output channel, row) for every output channel.
template <typename Weight, typename Fn>
void each_row(const Filter& filter, Fn fn) {
  FilterRows<Weight> rows(filter);
  for (int64_t o = 0; o < filter.out; ++o) fn(o, rows.next());
  rows.finish();
}

// Brings all weights into memory.
void gather(Filter* filter);

}  // namespace glz
