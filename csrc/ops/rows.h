// Element-wise work over views with the same rows: in one flat piece if nothing but pad lanes lies
// between rows, else row by row.
#pragma once

#include <initializer_list>

#include "partition.h"
#include "view.h"

namespace glz {

class Rows {
 public:
  Rows() = default;
  // All views have the same rows and channels.
  explicit Rows(std::initializer_list<const View*> views) {
    const View& first = **views.begin();
    rows_ = first.rows();
    columns_ = first.c;
    flat_ = true;
    for (const View* view : views) {
      flat_ = flat_ && view->compact() && view->stride == first.stride;
    }
    if (flat_) {
      columns_ = rows_ * first.stride;
      rows_ = 1;
    }
  }

  // One row at a time, whatever lies between.
  static Rows each(const View& view) {
    Rows rows;
    rows.rows_ = view.rows();
    rows.columns_ = view.c;
    rows.flat_ = false;
    return rows;
  }

  // How many tasks are worth while for so many bytes read and written.
  int64_t tasks(int threads, double nanoseconds) const {
    return row_tasks(flat_ ? (columns_ + 63) / 64 : rows_, threads, nanoseconds);
  }

  // Calls fn(row, first column, number of columns) for the pieces of one of `tasks` tasks.
  template <typename Fn>
  void run(int64_t task, int64_t tasks, Fn fn) const {
    if (flat_) {
      const Range blocks = part_of((columns_ + 63) / 64, task, tasks);
      const int64_t end = std::min(blocks.end * 64, columns_);
      if (blocks.begin * 64 < end) fn(int64_t{0}, blocks.begin * 64, end - blocks.begin * 64);
      return;
    }
    const Range range = part_of(rows_, task, tasks);
    for (int64_t row = range.begin; row < range.end; ++row) fn(row, int64_t{0}, columns_);
  }

 private:
  int64_t rows_ = 1, columns_ = 0;
  bool flat_ = true;
};

// The address of an element of a view that starts at `base`.
template <typename T>
T* element(T* base, const View& view, int64_t row, int64_t column) {
  return base + row * view.stride + column;
}

}  // namespace glz
