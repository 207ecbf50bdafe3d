// Part of implicit_gemm.inl.h: how fast the multiply-accumulate instruction alone can go.

int64_t limit(int64_t rounds) {
  constexpr int kSums = 12;  // enough to hide the latency, few enough for 16 registers
  alignas(64) const char zeros[64] = {};
  Kernel::Word a = Kernel::broadcast(zeros);
  Kernel::Vec b = Kernel::load(zeros);
  Kernel::Acc sum[kSums];
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) {
    sum[i] = Kernel::start(zeros);
    asm("" : "+x"(sum[i]));
  }
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) {
      asm("" : "+x"(a), "+x"(b));  // no two products are known to be equal
      sum[i] = Kernel::mul_add(sum[i], a, b);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) asm volatile("" ::"x"(sum[i]));
  return rounds * kSums * Simd::kLanes * Kernel::kWordElems;
}
