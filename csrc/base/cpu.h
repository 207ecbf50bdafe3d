// Which instruction sets this machine, its OS and this build have, and which one to use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace glz {

// Each is a column of the kernel table. kReference is portable C++ and defines the truth.
enum class Isa { kReference = 0, kAvx2, kAvxVnni, kAvx512Bw, kAvx512Vnni, kAvx512Vbmi2 };

// "reference", "avx2", "avxvnni", "avx512bw", "avx512vnni", "avx512vbmi2" (VNNI and VBMI2)
const char* isa_name(Isa isa);
bool isa_available(Isa isa);        // CPUID and XGETBV both agree
std::vector<Isa> available_isas();  // ascending
Isa best_isa();

// A name, or "" for the environment variable GLUONZIP_ISA, or else the best. Throws kIsa for an
// unknown name or one that this machine lacks.
Isa resolve_isa(const std::string& name);

// The one of `available` that is called `wanted`; `origin` goes into the message if there is none.
Isa find_isa(const std::string& wanted, const std::string& origin,
             const std::vector<Isa>& available);

// The column to try when a kernel has no row for `isa`: 512vbmi2 -> 512vnni -> 512bw -> avx2 ->
// reference, avxvnni -> avx2.
Isa isa_fallback(Isa isa);

// Cores that this process may run on.
int available_cores();

// Bytes of the cache that cores share, of those of one core; a common size where the OS says
// nothing.
int64_t last_level_cache_bytes();

}  // namespace glz
