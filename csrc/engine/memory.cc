#include <algorithm>

#include "plan.h"

namespace glz {

// Largest first, each at the lowest offset that is free while it is in use.
size_t place_storages(std::vector<Storage>* storages) {
  std::vector<Storage*> order;
  for (Storage& storage : *storages) {
    if (storage.kind == Storage::Kind::kArena) order.push_back(&storage);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Storage* a, const Storage* b) { return a->bytes > b->bytes; });
  std::vector<const Storage*> placed;  // by offset
  int64_t arena = 0;
  for (Storage* storage : order) {
    const int64_t size = round_up(storage->bytes + 64, 64);  // 64 readable bytes past the end
    int64_t offset = 0;
    for (const Storage* other : placed) {
      if (other->last < storage->first || storage->last < other->first) continue;
      if (offset + size <= other->offset) break;
      offset = std::max(offset, other->offset + round_up(other->bytes + 64, 64));
    }
    storage->offset = offset;
    arena = std::max(arena, offset + size);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), storage,
                         [](const Storage* a, const Storage* b) { return a->offset < b->offset; }),
        storage);
  }
  return static_cast<size_t>(arena);
}

}  // namespace glz
