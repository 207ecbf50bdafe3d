// Memory aligned for any vector load (64 bytes), with 64 readable bytes past its end. What is large
// asks for huge pages: weights that stream from memory otherwise wait for address translation too.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace glz {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) : size_(bytes) {
    const size_t padded = (bytes + 127) / 64 * 64;
    const size_t alignment = padded < kHugePage ? 64 : kHugePage;
    if (posix_memalign(&data_, alignment, padded) != 0) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (alignment == kHugePage) madvise(data_, padded / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    std::memset(static_cast<char*>(data_) + bytes, 0, padded - bytes);
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  void* data() { return data_; }
  const void* data() const { return data_; }
  template <typename T>
  T* as() {
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kHugePage = 2 << 20;

  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace glz
