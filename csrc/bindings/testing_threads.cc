// gluonzip._core.testing: the thread pool.
#include <atomic>

#include "../base/check.h"
#include "../base/thread_pool.h"
#include "testing.h"

namespace py = pybind11;
using namespace glz;

namespace {

// How often each task of `rounds` jobs ran, and whether every thread index was in range.
std::vector<int64_t> pool_counts(int threads, int64_t tasks, int64_t rounds) {
  ThreadPool pool(threads);
  std::vector<int64_t> counts(static_cast<size_t>(tasks));
  std::atomic<bool> in_range{true};
  for (int64_t round = 0; round < rounds; ++round) {
    pool.parallel_for(tasks, [&](int64_t task, int thread) {
      ++counts[static_cast<size_t>(task)];  // a race, if two threads had the same task
      if (thread < 0 || thread >= pool.size()) in_range = false;
    });
  }
  GLZ_CHECK(in_range, kConfig, "a thread index was out of range");
  return counts;
}

// Task `bad` of `tasks` throws; the pool must work after that.
int64_t pool_throw(int threads, int64_t tasks, int64_t bad) {
  ThreadPool pool(threads);
  try {
    pool.parallel_for(tasks, [&](int64_t task, int) {
      GLZ_CHECK(task != bad, kData, "task " << task << " failed");
    });
  } catch (const Error&) {
    std::atomic<int64_t> ran{0};
    pool.parallel_for(tasks, [&](int64_t, int) { ++ran; });
    GLZ_CHECK(ran == tasks, kConfig, "after an error the pool ran " << ran << " tasks");
    throw;
  }
  return tasks;
}

// Each of `outer` tasks starts `inner` tasks on the same pool.
int64_t pool_nested(int threads, int64_t outer, int64_t inner) {
  ThreadPool pool(threads);
  std::atomic<int64_t> ran{0};
  pool.parallel_for(outer, [&](int64_t, int thread) {
    pool.parallel_for(inner, [&](int64_t, int inner_thread) {
      if (inner_thread == thread) ++ran;
    });
  });
  return ran;
}

// `callers` threads share one pool; the sum that each computed.
std::vector<int64_t> pool_shared(int threads, int callers, int64_t tasks, int64_t rounds) {
  ThreadPool pool(threads), starter(callers);
  std::vector<int64_t> sums(static_cast<size_t>(callers));
  starter.parallel_for(callers, [&](int64_t caller, int) {
    for (int64_t round = 0; round < rounds; ++round) {
      std::atomic<int64_t> sum{0};
      pool.parallel_for(tasks, [&](int64_t task, int) { sum += task; });
      sums[static_cast<size_t>(caller)] += sum;
    }
  });
  return sums;
}

}  // namespace

void bind_testing_threads(py::module_& m) {
  using Release = py::call_guard<py::gil_scoped_release>;
  m.def("pool_counts", pool_counts, Release());
  m.def("pool_throw", pool_throw, Release());
  m.def("pool_nested", pool_nested, Release());
  m.def("pool_shared", pool_shared, Release());
}
