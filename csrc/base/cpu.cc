#include "cpu.h"

#include <sched.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "check.h"

namespace glz {
namespace {

constexpr Isa kAll[] = {Isa::kReference, Isa::kAvx2,       Isa::kAvxVnni,
                        Isa::kAvx512Bw,  Isa::kAvx512Vnni, Isa::kAvx512Vbmi2};

struct Features {
  bool avx2 = false, avx_vnni = false, avx512_bw = false, avx512_vnni = false;
  bool avx512_vbmi2 = false;  // and VNNI
};

#if defined(__x86_64__)
constexpr uint64_t kYmmState = 0x06;  // XCR0: SSE and AVX registers are saved by the OS
constexpr uint64_t kZmmState = 0xe6;  // and the mask registers and upper halves of AVX-512

struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  Cpuid(unsigned leaf, unsigned subleaf) {
    __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx);  // zeros if the leaf is unknown
  }
};

bool bit(unsigned word, int index) { return (word >> index) & 1; }

uint64_t os_saved_state() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

Features detect() {
  Features f;
  const Cpuid one(1, 0), seven(7, 0), seven_one(7, 1);
  const bool osxsave = bit(one.ecx, 27), avx = bit(one.ecx, 28), fma = bit(one.ecx, 12);
  if (!osxsave || !avx) return f;
  const uint64_t state = os_saved_state();
  const bool ymm = (state & kYmmState) == kYmmState, zmm = (state & kZmmState) == kZmmState;
  f.avx2 = ymm && fma && bit(seven.ebx, 5);
  f.avx_vnni = f.avx2 && bit(seven_one.eax, 4);
  const bool f_dq_bw_vl =
      bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);
  f.avx512_bw = f.avx2 && zmm && f_dq_bw_vl;
  f.avx512_vnni = f.avx512_bw && bit(seven.ecx, 11);
  f.avx512_vbmi2 = f.avx512_vnni && bit(seven.ecx, 6) && bit(one.ecx, 23);  // and POPCNT
  return f;
}
#else
Features detect() { return {}; }
#endif

std::string list_names(const std::vector<Isa>& isas) {
  std::string names;
  for (Isa isa : isas) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512Bw:
      return "avx512bw";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kAvx512Vbmi2:
      return "avx512vbmi2";
  }
  return "unknown";
}

bool isa_available(Isa isa) {
  static const Features features = detect();
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return features.avx2;
    case Isa::kAvxVnni:
      return features.avx_vnni;
    case Isa::kAvx512Bw:
      return features.avx512_bw;
    case Isa::kAvx512Vnni:
      return features.avx512_vnni;
    case Isa::kAvx512Vbmi2:
      return features.avx512_vbmi2;
  }
  return false;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa isa : kAll) {
    if (isa_available(isa)) isas.push_back(isa);
  }
  return isas;
}

Isa best_isa() { return available_isas().back(); }

Isa resolve_isa(const std::string& name) {
  const char* variable = std::getenv("GLUONZIP_ISA");
  const bool from_environment = name.empty() && variable != nullptr && *variable != '\0';
  const std::string wanted = from_environment ? variable : name;
  if (wanted.empty()) return best_isa();
  return find_isa(wanted, from_environment ? " (from the environment variable GLUONZIP_ISA)" : "",
                  available_isas());
}

Isa find_isa(const std::string& wanted, const std::string& origin,
             const std::vector<Isa>& available) {
  for (Isa isa : available) {
    if (wanted == isa_name(isa)) return isa;
  }
  bool known = false;
  for (Isa isa : kAll) known = known || wanted == isa_name(isa);
  throw Error(ErrorKind::kIsa, (known ? "instruction set '" + wanted + "'" + origin +
                                            " is not available on this machine"
                                      : "unknown instruction set '" + wanted + "'" + origin) +
                                   "; available: " + list_names(available));
}

Isa isa_fallback(Isa isa) {
  switch (isa) {
    case Isa::kAvx512Vbmi2:
      return Isa::kAvx512Vnni;
    case Isa::kAvx512Vnni:
      return Isa::kAvx512Bw;
    case Isa::kAvx512Bw:
    case Isa::kAvxVnni:
      return Isa::kAvx2;
    default:
      return Isa::kReference;
  }
}

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

// Not sysconf(), which counts every L3 of an AMD socket.
int64_t last_level_cache_bytes() {
  static const int64_t bytes = [] {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");
    int64_t kilobytes = 0;
    char unit = 0;
    const bool known = file >> kilobytes >> unit && unit == 'K' && kilobytes > 0;
    return known ? kilobytes << 10 : int64_t{16} << 20;
  }();
  return bytes;
}

}  // namespace glz
