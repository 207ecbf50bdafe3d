// A small pool that spins briefly before it sleeps. One belongs to each engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace glz {

class ThreadPool {
 public:
  // `threads` counts the calling thread; 1 starts none. 0 means all available cores.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int size() const;

  // Calls fn(task, thread) for each task in [0, tasks), thread in [0, size()), and returns when all
  // are done. Tasks write disjoint outputs, so that results do not depend on the number of threads.
  // The first exception thrown by a task is rethrown here. One caller at a time.
  void parallel_for(int64_t tasks, const std::function<void(int64_t task, int thread)>& fn);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace glz
