// Dot products of two rows, with vectors along them. Included inside the anonymous namespace of an
// ISA file after Vector.

GLZ_INLINE float dot(const float* a, const float* b, int64_t n) {
  constexpr int64_t kLanes = Vector::kLanes;
  Vector::F sums[4];
  for (auto& sum : sums) sum = Vector::zero();
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
    unroll<4>([&](auto v) GLZ_UNROLLED {
      const int64_t at = j + v.value * kLanes;
      sums[v.value] = Vector::fma(Vector::load(a + at), Vector::load(b + at), sums[v.value]);
    });
  }
  for (; j < n; j += kLanes) {
    const int64_t rest = least(n - j, kLanes);
    sums[0] =
        Vector::fma(Vector::load_floats(a + j, rest), Vector::load_floats(b + j, rest), sums[0]);
  }
  sums[0] = Vector::add(Vector::add(sums[0], sums[1]), Vector::add(sums[2], sums[3]));
  float lanes[kLanes], total = 0.0f;
  Vector::store(lanes, sums[0]);
  for (float lane : lanes) total += lane;
  return total;
}

void run(const SddmmArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    for (int32_t i = args.row_begin[row]; i < args.row_begin[row + 1]; ++i) {
      args.out[i] = dot(args.a + row * args.n, args.b + args.columns[i] * args.n, args.n);
    }
  }
}
