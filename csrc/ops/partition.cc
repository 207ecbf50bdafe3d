#include "partition.h"

#include "../base/check.h"

namespace glz {
namespace {

constexpr double kForkNanoseconds = 1500;  // to wake the others and wait for them
constexpr double kTaskNanoseconds = 150;
constexpr double kCacheBytesPerNanosecond = 40;

double estimate(const Grid& grid, int threads, const GridCost& cost) {
  const double total = static_cast<double>(grid.rows) * grid.panels;
  const double task_share = static_cast<double>(ceil_div(grid.rows, grid.row_blocks)) *
                            ceil_div(grid.panels, grid.panel_blocks) / total;
  const double rounds = ceil_div(grid.tasks(), threads);
  const double read = grid.rows * cost.row_bytes * grid.panel_blocks +
                      grid.panels * cost.panel_bytes * grid.row_blocks;
  const int64_t active = std::min<int64_t>(threads, grid.tasks());
  return cost.nanoseconds * task_share * rounds + read / active / kCacheBytesPerNanosecond +
         (grid.tasks() > 1 ? kForkNanoseconds + kTaskNanoseconds * rounds : 0) +
         // Small tasks level out cores that others slow down.
         (grid.tasks() > 1 ? 0.05 * cost.nanoseconds * task_share : 0);
}

}  // namespace

Grid make_grid(int64_t rows, int64_t panels, int threads, const GridCost& cost) {
  Grid best{rows, panels};
  double best_time = estimate(best, threads, cost);
  const int64_t most = 4 * threads;
  for (int64_t r = 1; threads > 1 && r <= std::min(rows, most); ++r) {
    for (int64_t p = 1; p <= std::min(panels, most / r); ++p) {
      const Grid grid{rows, panels, r, p};
      const double time = estimate(grid, threads, cost);
      if (time < best_time) {
        best = grid;
        best_time = time;
      }
    }
  }
  return best;
}

}  // namespace glz
