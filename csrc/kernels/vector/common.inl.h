// Scalar helpers of the ISA files; <algorithm> would leave weak symbols for others to link to.

#define GLZ_INLINE inline __attribute__((always_inline))

GLZ_INLINE constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
GLZ_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
GLZ_INLINE int64_t parts(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Calls fn(Index<0>), ..., fn(Index<N - 1>): a loop unrolled for certain, whose index is a
// constant. (GCC 12 at -O2 miscompiled nested loops with `#pragma GCC unroll`.)
template <int I>
struct Index {
  static constexpr int value = I;
};
template <int N, typename Fn>
GLZ_INLINE void unroll(const Fn& fn) {
  if constexpr (N > 0) {
    unroll<N - 1>(fn);
    fn(Index<N - 1>());
  }
}
#define GLZ_UNROLLED __attribute__((always_inline))  // of the lambda: [&](auto i) GLZ_UNROLLED {}
