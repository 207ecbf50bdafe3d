// How an operator's work is cut into tasks for the thread pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace glz {

struct Range {
  int64_t begin, end;
};

// Part `index` of `parts` almost equal parts of [0, count).
inline Range part_of(int64_t count, int64_t index, int64_t parts) {
  return {count * index / parts, count * (index + 1) / parts};
}

// A grid of row_blocks x panel_blocks tasks over rows x panels items. Successive tasks share their
// rows, or, with `panels_outside`, their panels.
struct Grid {
  int64_t rows = 1, panels = 1;
  int64_t row_blocks = 1, panel_blocks = 1;
  bool panels_outside = false;

  int64_t tasks() const { return row_blocks * panel_blocks; }
  Range row_range(int64_t task) const {
    return part_of(rows, panels_outside ? task % row_blocks : task / panel_blocks, row_blocks);
  }
  Range panel_range(int64_t task) const {
    return part_of(panels, panels_outside ? task / row_blocks : task % panel_blocks, panel_blocks);
  }
  std::string name() const;
};

struct GridCost {
  double nanoseconds;    // of the whole on one core, roughly
  double row_bytes = 0;  // read by a task for each of its rows, and of its panels
  double panel_bytes = 0;
};

// The grid with the shortest estimated time on `threads` threads.
Grid make_grid(int64_t rows, int64_t panels, int threads, const GridCost& cost);

// That grid, and others worth measuring: other cuts, finer ones, the other order of tasks.
std::vector<Grid> candidate_grids(int64_t rows, int64_t panels, int threads, const GridCost& cost);

// The same where the time of a grid's largest task is known: rows x panels -> nanoseconds.
using TaskCost = std::function<double(int64_t rows, int64_t panels)>;
std::vector<Grid> candidate_grids(int64_t rows, int64_t panels, int threads, const TaskCost& cost);

// Rows alone: how many tasks for `rows` items that take `nanoseconds` in all.
inline int64_t row_tasks(int64_t rows, int threads, double nanoseconds) {
  return make_grid(rows, 1, threads, {nanoseconds, 0, 0}).row_blocks;
}

// One core's speed, roughly: what estimates are made from.
constexpr double kBytesPerNanosecond = 12.0;
constexpr double kS8MacsPerNanosecond = 150.0;
constexpr double kF32MacsPerNanosecond = 35.0;

}  // namespace glz
