// int8 depthwise convolution: blocks of wide::kBlock channels, the last one of half:: if that is
// enough. Included inside the anonymous namespace of an ISA file.

GLZ_INLINE bool fits_half(const ConvGeometry& g, int64_t channel) {
  return g.channels - channel <= half::kBlock;
}

size_t packed_bytes_s8(const ConvGeometry& g) {
  int64_t bytes = 0;
  for (int64_t c = 0; c < g.channels; c += wide::kBlock) {
    bytes += fits_half(g, c) ? half::block_bytes(g) : wide::block_bytes(g);
  }
  return static_cast<size_t>(bytes);
}

void pack_s8(const ConvGeometry& g, const int8_t* weights, void* packed) {
  char* to = static_cast<char*>(packed);
  for (int64_t c = 0; c < g.channels; c += wide::kBlock) {
    const int8_t* from = weights + c * g.kh * g.kw;
    if (fits_half(g, c)) return half::pack_block(g, from, g.channels - c, to);
    wide::pack_block(g, from, wide::least(g.channels - c, wide::kBlock), to);
    to += wide::block_bytes(g);
  }
}

void run_s8(const DepthwiseS8Args& a, int64_t begin, int64_t end) {
  Epilogue e = a.epilogue;
  wide::clamp_to_codes(&e);
  const char* packed = static_cast<const char*>(a.packed);
  for (int64_t c = 0; c < a.geometry.channels; c += wide::kBlock) {
    if (fits_half(a.geometry, c)) return half::run_block(a, e, packed, c, begin, end);
    wide::run_block(a, e, packed, c, begin, end);
    packed += wide::block_bytes(a.geometry);
  }
}
