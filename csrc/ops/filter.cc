#include "filter.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "../base/check.h"
#include "view.h"

namespace glz {
namespace {

// Products of codes whose sum fits an int32.
int64_t most_terms(ElementType input) {
  return std::numeric_limits<int32_t>::max() / (127 * highest_code(input));
}

template <typename Weight>
const std::vector<Weight>& in_memory(const Filter& filter) {
  if constexpr (sizeof(Weight) == 1) {
    return filter.codes;
  } else {
    return filter.values;
  }
}

template <typename Weight>
std::vector<Weight> gathered(const Filter& filter) {
  std::vector<Weight> all(filter.out * filter.row());
  each_row<Weight>(filter, [&](int64_t o, const Weight* row) {
    std::copy_n(row, filter.row(), &all[o * filter.row()]);
  });
  return all;
}

}  // namespace

Filter empty_filter(const TensorType& x, const ModelTensor& weight, int64_t out_axis, int64_t out,
                    int64_t channels, int64_t taps_h, int64_t taps_w, int64_t groups,
                    const std::string& label) {
  Filter filter;
  filter.out = out;
  filter.channels = channels;
  filter.kh = taps_h;
  filter.kw = taps_w;
  filter.groups = groups;
  if (!x.quantized() || weight.scale.empty() || weight.groups() > 1) return filter;
  GLZ_CHECK(weight.scale.size() == 1 || weight.axis == out_axis, kUnsupported,
            label << ": weight '" << weight.name << "' has a scale for each index along axis "
                  << weight.axis << "; on int8 input it must be per tensor or along axis "
                  << out_axis);
  GLZ_CHECK(channels * taps_h * taps_w <= most_terms(element_type(x.dtype)), kUnsupported,
            label << ": sums of " << channels * taps_h * taps_w
                  << " products do not fit a 32-bit accumulator");
  filter.integer = true;
  // A transposed convolution's scales go with the output channels of one group.
  for (int64_t o = 0; o < out; ++o) {
    filter.scale.push_back(weight.scale[o % static_cast<int64_t>(weight.scale.size())]);
  }
  return filter;
}

bool streams_rows(const ModelTensor& weight) {
  return weight.scale.size() <= 1 || weight.axis == 0;
}

template <typename Weight>
FilterRows<Weight>::FilterRows(const Filter& filter) : filter_(filter) {
  if (filter.weight == nullptr) return;
  const ModelTensor& weight = *filter.weight;
  const size_t row = static_cast<size_t>(filter.order.from());
  if (weight.stored != nullptr) {
    stream_ = weight.stored->open();
    stored_.resize(row * (weight.dtype == DType::kS8 ? 1 : 4));
  } else if (!streams_rows(weight)) {
    whole_ = real_values(weight);
  }
  row_.resize(static_cast<size_t>(filter.order.to()));
}

template <typename Weight>
const void* FilterRows<Weight>::next_stored() {
  const int64_t row = filter_.order.from();
  if (stream_ != nullptr) {
    stream_->read(stored_.data(), row);
    return stored_.data();
  }
  const auto item = static_cast<int64_t>(filter_.weight->dtype == DType::kS8 ? 1 : 4);
  return filter_.weight->data.template as<char>() + at_ * row * item;
}

template <typename Weight>
const float* FilterRows<Weight>::real(const int8_t* codes) {
  const int64_t row = filter_.order.from();
  const std::vector<float>& scale = filter_.weight->scale;
  const int64_t channels = scale.size() == 1 ? 1 : filter_.weight->shape[0];
  const int64_t groups = static_cast<int64_t>(scale.size()) / channels, size = row / groups;
  const float* mine = &scale[at_ % channels * groups];
  real_.resize(static_cast<size_t>(row));
  for (int64_t i = 0; i < row; ++i) real_[i] = static_cast<float>(codes[i]) * mine[i / size];
  return real_.data();
}

template <typename Weight>
template <typename Stored>
const Stored* FilterRows<Weight>::ordered(const Stored* from, std::vector<Stored>* to) const {
  const RowOrder& order = filter_.order;
  for (int64_t c = 0; c < order.channels; ++c) {
    for (int64_t t = 0; t < order.taps; ++t) (*to)[t * order.stride + c] = *from++;
  }
  return to->data();
}

template <typename Weight>
const Weight* FilterRows<Weight>::next() {
  const auto& memory = in_memory<Weight>(filter_);
  if (filter_.weight == nullptr) return &memory[at_++ * filter_.row()];
  const Weight* from;
  if constexpr (sizeof(Weight) == 1) {
    from = static_cast<const int8_t*>(next_stored());
  } else if (!whole_.empty()) {
    from = &whole_[at_ * filter_.order.from()];
  } else if (filter_.weight->dtype == DType::kS8) {
    from = real(static_cast<const int8_t*>(next_stored()));
  } else {
    from = static_cast<const float*>(next_stored());
  }
  ++at_;
  const Weight* row = ordered(from, &row_);
  if constexpr (sizeof(Weight) == 4) {
    if (filter_.factor != 1.0f) {
      for (Weight& value : row_) value *= filter_.factor;
    }
  }
  return row;
}

template <typename Weight>
void FilterRows<Weight>::finish() {
  if (stream_ != nullptr) stream_->finish();
}

void gather(Filter* filter) {
  if (filter->weight == nullptr) return;
  if (filter->quantized()) {
    filter->codes = gathered<int8_t>(*filter);
  } else {
    filter->values = gathered<float>(*filter);
  }
  filter->weight = nullptr;
}

template class FilterRows<int8_t>;
template class FilterRows<float>;

}  // namespace glz
