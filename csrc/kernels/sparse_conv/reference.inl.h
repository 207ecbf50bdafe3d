// The truth for sparse_s8 and sparse_f32. Included after Args, Input, Weight
// and Sum.

size_t workspace_bytes(const ConvGeometry&) { return 0; }

// The element of a pixel's channel in planes.
int64_t in_planes(int64_t pitch, int64_t pixel, int64_t channel) {
  constexpr int64_t n = kPerWord<Weight>;
  return (channel / n * pitch + pixel) * n + channel % n;
}

// `offset`: of the pixel's first channel, in pixels x channels.
Sum input(const Args& a, int64_t offset, int64_t channel) {
  if (a.pitch.input == 0) return value(a.input[offset + channel], a.geometry.zero);
  return value(a.input[in_planes(a.pitch.input, offset / a.geometry.stride_c, channel)],
               a.geometry.zero);
}

Sum word_sum(const Args& a, const OutputPixel& pixel, int64_t at, int64_t tap_words,
             uint32_t word) {
  const ConvGeometry& g = a.geometry;
  const int64_t tap = at / tap_words, first = at % tap_words * kPerWord<Weight>;
  const int64_t offset = tap_offset(g, pixel, tap / g.kw, tap % g.kw);
  if (offset < 0) return 0;
  Weight w[kPerWord<Weight>];
  memcpy(w, &word, sizeof word);
  Sum sum = 0;
  for (int64_t i = 0; i < kPerWord<Weight> && first + i < g.channels; ++i) {
    sum += input(a, offset, first + i) * w[i];
  }
  return sum;
}

Sum sum(const Args& a, int64_t row, int64_t channel) {
  const ConvGeometry& g = a.geometry;
  const SparseForm form = {sparse_header(a.packed).form};
  const SparseDepth depth = sparse_depth<Weight>(g, form);
  const SparseView view = sparse_view(a.packed, g, depth);
  const OutputPixel pixel = output_pixel(g, row);
  const int64_t out = 2 * sparse_pairs(g), first = channel / kSparseBlock * kSparseBlock;
  Sum acc = 0;
  for (int64_t slice = 0; slice < depth.slices; ++slice) {
    int64_t at = slice * out + first;
    while (first + view.order[at] != channel) ++at;
    const int32_t* begin = view.begin + at / 2;
    const int32_t count = (begin[1] - begin[0]) / 2;
    const int32_t from = begin[0] + static_cast<int32_t>(at % 2) * count;
    for (int32_t i = from; i < from + count; ++i) {
      if (view.words[i] == 0) continue;  // fills up
      acc += word_sum(a, pixel, depth.begin(slice) + view.index[i] / form.unit(), depth.tap_words,
                      view.words[i]);
    }
  }
  return acc;
}

void store(const Args& a, int64_t row, int64_t channel, Sum sum) {
  Epilogue e = a.epilogue;
  if (e.residual != nullptr && a.pitch.residual != 0) {
    const int64_t i = in_planes(a.pitch.residual, row, channel);
    e.residual = static_cast<const Input*>(e.residual) + i - channel;
    e.residual_stride = 0;
  }
  if (a.pitch.output == 0) return store_epilogue(e, row, channel, sum);
  const float y = apply_epilogue(e, row, channel, sum);
  store_value(e.output, e.output_type, in_planes(a.pitch.output, row, channel), y);
}

void run(const Args& a, int64_t row_begin, int64_t row_end, int64_t panel_begin,
         int64_t panel_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int64_t c = panel_begin; c < panel_end; ++c) store(a, row, c, sum(a, row, c));
  }
}
