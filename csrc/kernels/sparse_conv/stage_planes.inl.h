// From planes of words (planes.h) to a tile. Included after job.inl.h.

// The lanes that are inside the image, `right` columns from the first tap.
Span inside(const ConvGeometry& g, const Run& run, int64_t right) {
  const int64_t iw = run.iw + right;
  const int64_t room = g.sw == 1 ? g.w - iw : parts(g.w - iw, g.sw);
  const int64_t skip = iw >= 0 ? 0 : g.sw == 1 ? -iw : parts(-iw, g.sw);
  const int64_t last = iw >= g.w ? 0 : least(run.count, room);
  if (skip >= last) return {0, 0};
  return {static_cast<uint8_t>(run.first + skip), static_cast<uint8_t>(run.first + last)};
}

void find_runs(const Job& job, int64_t vecs, Chunk* chunk) {
  const ConvGeometry& g = job.g;
  int64_t ow = chunk->row % g.ow, oh = chunk->row / g.ow % g.oh, n = chunk->row / g.ow / g.oh;
  Run* run = chunk->runs;
  for (int64_t v = 0; v < vecs; ++v) {
    chunk->begin[v] = static_cast<int32_t>(run - chunk->runs);
    const int64_t lanes = least(kLanes, chunk->rows - v * kLanes);
    for (int64_t first = 0; first < lanes; ++run) {
      const int64_t count = least(lanes - first, g.ow - ow);
      const int64_t ih = oh * g.sh - g.pad_top, iw = ow * g.sw - g.pad_left;
      run->place = (n * g.h + ih) * g.w + iw - first * g.sw;
      run->ih = static_cast<int32_t>(ih);
      run->iw = static_cast<int32_t>(iw);
      run->first = static_cast<int32_t>(first);
      run->count = static_cast<int32_t>(count);
      for (int64_t j = 0; j < least(g.kw, kColumns); ++j)
        run->inside[j] = inside(g, *run, j * g.dw);
      first += count;
      ow += count;
      if (ow < g.ow) continue;
      ow = 0;
      if (++oh < g.oh) continue;
      oh = 0;
      ++n;
    }
  }
  chunk->begin[vecs] = static_cast<int32_t>(run - chunk->runs);
}

// The lanes of a vector that read the image, and where lane 0 would.
struct Piece {
  Pixels::Lanes lanes;
  Pixels::Wide wide;
  const char* from;
};

// Under the tap in `column`, `down` and `right` of the first; `plane`: where the input's first
// pixel would have it.
template <int kStep>
GLZ_INLINE int find_pieces(const ConvGeometry& g, const Run* run, const Run* end, int64_t column,
                           int64_t down, int64_t right, const char* plane, Piece* pieces) {
  const uint64_t h = static_cast<uint64_t>(g.h);
  int count = 0;
  for (; run != end; ++run) {
    const Span span = column < kColumns ? run->inside[column] : inside(g, *run, right);
    if (span.begin == span.end || static_cast<uint64_t>(run->ih + down) >= h) continue;
    Piece& piece = pieces[count++];
    piece.lanes = Pixels::lanes(span.begin, span.end);
    if (kStep == 2) piece.wide = Pixels::wide(piece.lanes);
    piece.from = plane + 4 * run->place;
  }
  return count;
}

// One vector of `count` words. kPieces: how many there are, or -1: `many`.
template <int kStep, int kPieces>
void stage_vector(const Job& job, const Piece* pieces, int many, int64_t count, char* to) {
  const Pixels::I pad = Pixels::set(static_cast<int32_t>(pad_word(job.g)));
  // Copies: stores to the tile cannot change them.
  const int64_t pitch = 4 * job.pitch.input, tile_pitch = job.tile_pitch, apart = job.g.sw;
  constexpr int kCopies = kPieces > 0 ? kPieces : 1;
  Piece copies[kCopies];
  unroll<kCopies>([&](auto i) GLZ_UNROLLED {
    if (kPieces > 0) copies[i.value] = pieces[i.value];
  });
  for (int64_t word = 0, at = 0; word < count; ++word, at += pitch, to += tile_pitch) {
    Pixels::I x = pad;
    const auto load = [&](const Piece& piece) GLZ_UNROLLED {
      const char* from = piece.from + at;
      x = Pixels::load_lanes<kStep>(x, piece.lanes, piece.wide, from, apart);
    };
    if (kPieces < 0) {
      for (int i = 0; i < many; ++i) load(pieces[i]);
    } else if (kPieces > 0) {
      unroll<kCopies>([&](auto i) GLZ_UNROLLED { load(copies[i.value]); });
    }
    Pixels::store(to, x);
  }
}

template <int kStep>
void stage_any(const Job& job, const Piece* pieces, int many, int64_t count, char* to) {
  using Function = void (*)(const Job&, const Piece*, int, int64_t, char*);
  constexpr Function kPieces[] = {stage_vector<kStep, 0>, stage_vector<kStep, 1>,
                                  stage_vector<kStep, 2>, stage_vector<kStep, -1>};
  kPieces[least(many, 3)](job, pieces, many, count, to);
}

// Short rows, and those with gaps between them: a plane at a time, so that the lines they share
// are used while they are there.
template <int kStep, int V>
void stage_scattered(const Job& job, const Piece* pieces, const int (&end)[V], int64_t count,
                     char* to) {
  constexpr int64_t kAhead = 6;  // planes
  const Pixels::I pad = Pixels::set(static_cast<int32_t>(pad_word(job.g)));
  const int64_t pitch = 4 * job.pitch.input, tile_pitch = job.tile_pitch, apart = job.g.sw;
  for (int64_t word = 0, at = 0; word < count; ++word, at += pitch, to += tile_pitch) {
    const Piece* piece = pieces;
    for (int v = 0; v < V; ++v) {
      Pixels::I x = pad;
      for (; piece != pieces + end[v]; ++piece) {
        const char* from = piece->from + at;
        __builtin_prefetch(from + kAhead * pitch);
        x = Pixels::load_lanes<kStep>(x, piece->lanes, piece->wide, from, apart);
      }
      Pixels::store(to + v * kBytes, x);
    }
  }
}

// `count` words under a tap; `plane`: where the input's first pixel would have the first of them.
template <int kStep, int V>
void stage_tap(const Job& job, const Chunk& chunk, int64_t tap, const char* plane, int64_t count,
               char* to) {
  const ConvGeometry& g = job.g;
  const int64_t column = tap % g.kw, down = tap / g.kw * g.dh, right = column * g.dw;
  plane += 4 * (down * g.w + right);
  Piece pieces[V * kLanes];
  int end[V];
  for (int v = 0, many = 0; v < V; ++v) {
    end[v] = many +=
        find_pieces<kStep>(g, chunk.runs + chunk.begin[v], chunk.runs + chunk.begin[v + 1], column,
                           down, right, plane, pieces + many);
  }
  if (end[V - 1] > 2 * V) {
    return stage_scattered<kStep, V>(job, pieces, end, count, to);
  }
  for (int v = 0; v < V; ++v, to += kBytes) {
    const int begin = v == 0 ? 0 : end[v - 1];
    stage_any<kStep>(job, pieces + begin, end[v] - begin, count, to);
  }
}

// `count` words from `first` on, under one tap, to `to`.
template <int V>
void stage_planes(const Job& job, const Chunk& chunk, int64_t tap, int64_t first, int64_t count,
                  char* to) {
  const int64_t pitch = 4 * job.pitch.input;
  const char* plane = job.input + first * pitch;
  if (!job.pointwise) {
    const auto stage = job.g.sw == 1   ? stage_tap<1, V>
                       : job.g.sw == 2 ? stage_tap<2, V>
                                       : stage_tap<0, V>;
    return stage(job, chunk, tap, plane, count, to);
  }
  plane += 4 * chunk.row;
  for (int64_t word = 0; word < count; ++word, plane += pitch, to += job.tile_pitch) {
    unroll<V>([&](auto v) GLZ_UNROLLED {
      Pixels::store(to + v.value * kBytes, Pixels::load(plane + v.value * kBytes));
    });
  }
}
