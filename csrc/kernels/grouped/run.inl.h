// int8 convolution of narrow groups: blocks of wide::kBlock channels, the last one of half:: if
// that is enough. Included inside the anonymous namespace of an ISA file, after
// ../depthwise/run_s8.inl.h.

size_t packed_bytes_grouped(const ConvGeometry& g, int64_t width) {
  int64_t bytes = 0;
  for (int64_t c = 0; c < g.channels; c += wide::kBlock) {
    bytes += fits_half(g, c) ? half::grouped::block_bytes(g, width)
                             : wide::grouped::block_bytes(g, width);
  }
  return static_cast<size_t>(bytes);
}

void pack_grouped(const ConvGeometry& g, int64_t width, const int8_t* weights, void* packed) {
  char* to = static_cast<char*>(packed);
  for (int64_t c = 0; c < g.channels; c += wide::kBlock) {
    const int8_t* from = weights + c * g.kh * g.kw * width;
    if (fits_half(g, c)) return half::grouped::pack_block(g, width, from, g.channels - c, to);
    wide::grouped::pack_block(g, width, from, wide::least(g.channels - c, wide::kBlock), to);
    to += wide::grouped::block_bytes(g, width);
  }
}

void run_grouped(const GroupedS8Args& a, int64_t begin, int64_t end) {
  Epilogue e = a.epilogue;
  wide::clamp_to_codes(&e);
  const char* packed = static_cast<const char*>(a.packed);
  for (int64_t c = 0; c < a.geometry.channels; c += wide::kBlock) {
    if (fits_half(a.geometry, c)) return half::grouped::run_block(a, e, packed, c, begin, end);
    wide::grouped::run_block(a, e, packed, c, begin, end);
    packed += wide::grouped::block_bytes(a.geometry, a.width);
  }
}
