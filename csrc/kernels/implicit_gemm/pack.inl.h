// Part of implicit_gemm.inl.h: weights for one ISA.
//
//   panel:  [start values: kPanel x int32, if kCompensated]  [run][word][channel][kWordElems]
//
// The last panel has only the vectors that it needs.

GLZ_INLINE int64_t panel_vecs(const ConvGeometry& g, int64_t panel) {
  return parts(least(kPanel, g.out_channels - panel * kPanel), Simd::kLanes);
}
GLZ_INLINE int64_t panel_bytes(const Plan& plan, int64_t vecs) {
  const int64_t start = Kernel::kCompensated ? vecs * Simd::kLanes * 4 : 0;
  return start + plan.depth() * vecs * Kernel::kVecBytes;
}

size_t packed_bytes(const ConvGeometry& g) {
  const Plan plan = make_plan(g);
  const int64_t full = g.out_channels / kPanel, rest = g.out_channels % kPanel;
  const int64_t bytes = full * panel_bytes(plan, Kernel::kVecs) +
                        panel_bytes(plan, parts(rest, Simd::kLanes)) * (rest > 0);
  return static_cast<size_t>(aligned(bytes));
}

void pack_channel(const Plan& plan, const typename Kernel::Weight* from, char* to, int64_t pitch) {
  constexpr int64_t kElems = Kernel::kWordElems;
  for (int64_t run = 0; run < plan.runs_h * plan.runs_w; ++run) {
    for (int64_t elem = 0; elem < plan.elems; elem += kElems, to += pitch) {
      const int64_t count = least(kElems, plan.elems - elem);
      memcpy(to, from + elem, static_cast<size_t>(count) * sizeof(*from));
    }
    from += plan.elems;
  }
}

void pack(const ConvGeometry& g, const typename Kernel::Weight* weights, void* packed) {
  const Plan plan = make_plan(g);
  const int64_t depth = g.kh * g.kw * g.channels;
  char* to = static_cast<char*>(packed);
  memset(to, 0, packed_bytes(g));
  for (int64_t first = 0; first < g.out_channels; first += kPanel) {
    const int64_t vecs = panel_vecs(g, first / kPanel),
                  count = least(kPanel, g.out_channels - first);
    char* body = to + panel_bytes(plan, vecs) - plan.depth() * vecs * Kernel::kVecBytes;
    for (int64_t c = 0; c < count; ++c) {
      const typename Kernel::Weight* channel = weights + (first + c) * depth;
      if (Kernel::kCompensated) {
        uint32_t sum = 0;
        for (int64_t k = 0; k < depth; ++k) sum += static_cast<uint32_t>(int32_t(channel[k]));
        const uint32_t start = 0u - static_cast<uint32_t>(g.zero) * sum;
        memcpy(to + 4 * c, &start, sizeof start);
      }
      pack_channel(plan, channel, body + c * Kernel::kVecBytes / Simd::kLanes,
                   vecs * Kernel::kVecBytes);
    }
    to += panel_bytes(plan, vecs);
  }
}
