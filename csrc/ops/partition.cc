#include "partition.h"

#include <utility>

#include "../base/check.h"

namespace glz {
namespace {

constexpr double kForkNanoseconds = 1500;  // to wake the others and wait for them
constexpr double kTaskNanoseconds = 150;
constexpr double kCacheBytesPerNanosecond = 40;

using Estimate = std::function<double(const Grid&)>;

// To start the tasks beside the first.
double overhead(const Grid& grid, double rounds) {
  return grid.tasks() > 1 ? kForkNanoseconds + kTaskNanoseconds * rounds : 0;
}

Estimate estimate_of(const GridCost& cost, int threads) {
  return [=](const Grid& grid) {
    const double total = static_cast<double>(grid.rows) * grid.panels;
    const double task_share = static_cast<double>(ceil_div(grid.rows, grid.row_blocks)) *
                              ceil_div(grid.panels, grid.panel_blocks) / total;
    const double rounds = ceil_div(grid.tasks(), threads);
    const double read = grid.rows * cost.row_bytes * grid.panel_blocks +
                        grid.panels * cost.panel_bytes * grid.row_blocks;
    const int64_t active = std::min<int64_t>(threads, grid.tasks());
    return cost.nanoseconds * task_share * rounds + read / active / kCacheBytesPerNanosecond +
           overhead(grid, rounds) +
           // Small tasks level out cores that others slow down.
           (grid.tasks() > 1 ? 0.05 * cost.nanoseconds * task_share : 0);
  };
}

Estimate estimate_of(const TaskCost& cost, int threads) {
  return [=](const Grid& grid) {
    const double rounds = ceil_div(grid.tasks(), threads);
    const double task =
        cost(ceil_div(grid.rows, grid.row_blocks), ceil_div(grid.panels, grid.panel_blocks));
    return task * (rounds + (grid.tasks() > 1 ? 0.05 : 0)) + overhead(grid, rounds);
  };
}

Grid best_grid(int64_t rows, int64_t panels, int threads, const Estimate& estimate) {
  Grid best{rows, panels};
  double best_time = estimate(best);
  const int64_t most = 4 * threads;
  for (int64_t r = 1; threads > 1 && r <= std::min(rows, most); ++r) {
    for (int64_t p = 1; p <= std::min(panels, most / r); ++p) {
      const Grid grid{rows, panels, r, p};
      const double time = estimate(grid);
      if (time < best_time) {
        best = grid;
        best_time = time;
      }
    }
  }
  return best;
}

}  // namespace

Grid make_grid(int64_t rows, int64_t panels, int threads, const GridCost& cost) {
  return best_grid(rows, panels, threads, estimate_of(cost, threads));
}

std::string Grid::name() const {
  return std::to_string(row_blocks) + "x" + std::to_string(panel_blocks) +
         (panels_outside ? " panels outside" : "");
}

namespace {

std::vector<Grid> candidates(int64_t rows, int64_t panels, int threads, const Estimate& estimate) {
  constexpr size_t kMostGrids = 8;
  std::vector<Grid> grids;
  for (int64_t r = 1; r <= std::min<int64_t>(rows, 8 * threads); r *= 2) {
    for (int64_t p = 1; p <= std::min<int64_t>(panels, 8 * threads / r); p *= 2) {
      if (threads > 1 && r * p % threads != 0) continue;
      grids.push_back({rows, panels, r, p});
      if (r > 1 && p > 1) grids.push_back({rows, panels, r, p, true});
    }
  }
  // First those that share out rows alone, or panels alone.
  const auto rank = [&](const Grid& grid) {
    const bool plain = grid.tasks() == threads && (grid.row_blocks == 1 || grid.panel_blocks == 1);
    return std::make_pair(!plain, estimate(grid));
  };
  std::stable_sort(grids.begin(), grids.end(),
                   [&](const Grid& a, const Grid& b) { return rank(a) < rank(b); });
  const Grid guess = best_grid(rows, panels, threads, estimate);
  grids.erase(std::remove_if(grids.begin(), grids.end(),
                             [&](const Grid& grid) { return grid.name() == guess.name(); }),
              grids.end());
  grids.insert(grids.begin(), guess);
  if (grids.size() > kMostGrids) grids.resize(kMostGrids);
  return grids;
}

}  // namespace

std::vector<Grid> candidate_grids(int64_t rows, int64_t panels, int threads, const GridCost& cost) {
  return candidates(rows, panels, threads, estimate_of(cost, threads));
}

std::vector<Grid> candidate_grids(int64_t rows, int64_t panels, int threads, const TaskCost& cost) {
  return candidates(rows, panels, threads, estimate_of(cost, threads));
}

}  // namespace glz
