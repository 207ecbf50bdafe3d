#include "cache.h"

#include <unistd.h>

namespace glz {
namespace {

#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
int64_t ask(int name, int64_t otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}
#else
constexpr int _SC_LEVEL1_DCACHE_SIZE = 0, _SC_LEVEL2_CACHE_SIZE = 0;
int64_t ask(int, int64_t otherwise) { return otherwise; }
#endif

}  // namespace

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = {ask(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
                                   ask(_SC_LEVEL2_CACHE_SIZE, 512 << 10)};
  return sizes;
}

}  // namespace glz
