#include <map>
#include <memory>
#include <mutex>

#include "dense_product.h"

namespace glz {

ThreadPool& shared_pool(int threads) {
  static std::mutex mutex;
  static auto* pools = new std::map<int, std::unique_ptr<ThreadPool>>;  // outlives every caller
  std::lock_guard<std::mutex> lock(mutex);
  auto& pool = (*pools)[threads];
  if (pool == nullptr) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

}  // namespace glz
