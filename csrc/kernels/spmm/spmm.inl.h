// Sparse times dense with vectors over the columns of the dense matrix. Included inside the
// anonymous namespace of an ISA file, after Vector. The sums of a block stay in registers while a
// sparse row passes by; a row of the dense matrix is read once per non-zero.

constexpr int kVecs = 4;

// Columns [j, j + n) of one row; n reaches into each of V vectors.
template <int V>
GLZ_INLINE void row_f32(const SpmmF32Args& a, int64_t row, int64_t j, int64_t n) {
  Vector::F acc[V];
  for (auto& sum : acc) sum = Vector::zero();
  for (int32_t i = a.row_begin[row]; i < a.row_begin[row + 1]; ++i) {
    const auto value = Vector::set(a.values[i]);
    const float* x = a.x + a.columns[i] * a.n + j;
    for (int64_t v = 0, k = 0; v < V; ++v, k += Vector::kLanes) {
      acc[v] = Vector::fma(value, Vector::load_floats(x + k, n - k), acc[v]);
    }
  }
  for (int64_t v = 0, k = 0; v < V; ++v, k += Vector::kLanes) {
    Vector::store_floats(a.y + row * a.n + j + k, acc[v], n - k);
  }
}

// Two non-zeros at a time: their products are added in pairs of 16-bit words, exactly.
template <int V>
GLZ_INLINE void row_s8(const SpmmS8Args& a, int64_t row, int64_t j, int64_t n) {
  Vector::I acc[V];
  for (auto& sum : acc) sum = Vector::zero_ints();
  const int32_t end = a.row_begin[row + 1];
  for (int32_t i = a.row_begin[row]; i < end; i += 2) {
    const bool pair = i + 1 < end;
    const int second = pair ? a.values[i + 1] : 0;
    const auto values = Vector::set_ints((second * 65536) | (a.values[i] & 0xffff));
    const int8_t* x0 = a.x + a.columns[i] * a.n + j;
    const int8_t* x1 = pair ? a.x + a.columns[i + 1] * a.n + j : x0;
    for (int64_t v = 0, k = 0; v < V; ++v, k += Vector::kLanes) {
      const auto x = Vector::pair_words(Vector::widen_signed(x0 + k, n - k),
                                        Vector::widen_signed(x1 + k, n - k));
      acc[v] = Vector::add(acc[v], Vector::madd_words(x, values));
    }
  }
  for (int64_t v = 0, k = 0; v < V; ++v, k += Vector::kLanes) {
    Vector::store_ints(a.y + row * a.n + j + k, acc[v], n - k);
  }
}

void run_f32(const SpmmF32Args& a, int64_t row_begin, int64_t row_end) {
  constexpr int64_t kWide = kVecs * Vector::kLanes;
  for (int64_t row = row_begin; row < row_end; ++row) {
    int64_t j = 0;
    for (; j + kWide <= a.n; j += kWide) row_f32<kVecs>(a, row, j, kWide);
    for (; j < a.n; j += Vector::kLanes) row_f32<1>(a, row, j, least(a.n - j, Vector::kLanes));
  }
}

void run_s8(const SpmmS8Args& a, int64_t row_begin, int64_t row_end) {
  constexpr int64_t kWide = kVecs * Vector::kLanes;
  for (int64_t row = row_begin; row < row_end; ++row) {
    int64_t j = 0;
    for (; j + kWide <= a.n; j += kWide) row_s8<kVecs>(a, row, j, kWide);
    for (; j < a.n; j += Vector::kLanes) row_s8<1>(a, row, j, least(a.n - j, Vector::kLanes));
  }
}
