// From pixels x channels to a tile: [word][pixel]. Included after job.inl.h.

void locate(const Job& job, int64_t vecs, Chunk* chunk) {
  const ConvGeometry& g = job.g;
  int64_t ow = chunk->row % g.ow, oh = chunk->row / g.ow % g.oh, n = chunk->row / g.ow / g.oh;
  for (int64_t p = 0; p < vecs * kLanes; ++p) {
    if (p >= chunk->rows) {  // outside every image
      chunk->ih[p] = chunk->iw[p] = -(1 << 30);
      chunk->place[p] = 0;
      continue;
    }
    const int64_t ih = oh * g.sh - g.pad_top, iw = ow * g.sw - g.pad_left;
    chunk->ih[p] = static_cast<int32_t>(ih);
    chunk->iw[p] = static_cast<int32_t>(iw);
    chunk->place[p] = ((n * g.h + ih) * g.w + iw) * job.pixel_bytes;
    if (++ow == g.ow) {
      ow = 0;
      if (++oh == g.oh) {
        oh = 0;
        ++n;
      }
    }
  }
}

// Where each pixel of the chunk has its words under a tap.
void locate_tap(const Job& job, const Chunk& chunk, int64_t vecs, int64_t tap, int64_t* place) {
  const ConvGeometry& g = job.g;
  const int64_t down = tap / g.kw * g.dh, right = tap % g.kw * g.dw;
  const int64_t bytes = (down * g.w + right) * job.pixel_bytes;
  const int64_t outside = job.pads - job.input;
  const uint32_t h = static_cast<uint32_t>(g.h), w = static_cast<uint32_t>(g.w);
  for (int64_t p = 0; p < vecs * kLanes; ++p) {
    const bool inside = (static_cast<uint32_t>(chunk.ih[p] + static_cast<int32_t>(down)) < h) &
                        (static_cast<uint32_t>(chunk.iw[p] + static_cast<int32_t>(right)) < w);
    place[p] = inside ? chunk.place[p] + bytes : outside;
  }
}

// `count` words from `first` on, under one tap, to `to`.
template <int V>
void stage_pixels(const Job& job, const Chunk& chunk, int64_t tap, int64_t first, int64_t count,
                  char* to) {
  alignas(64) int64_t place[V * kLanes];
  locate_tap(job, chunk, V, tap, place);
  for (int64_t v = 0; v < V; ++v) {
    const int64_t* p = place + v * kLanes;
    char* column = to + v * kBytes;
    for (int64_t word = 0; word < count; word += 4, column += 4 * job.tile_pitch) {
      Pixels::I four[4];
      const char* from = job.input + 4 * (first + word);
      Pixels::load_words([=](int i) { return from + p[i]; }, four);
      // What is past the tap's end is written over by the next tap, or is slack.
      for (int i = 0; i < 4; ++i) Pixels::store(column + i * job.tile_pitch, four[i]);
    }
  }
}
