#include "thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu.h"

namespace glz {
namespace {

constexpr int kMaxThreads = 1024;
// About the gap between two layers; beyond it a thread sleeps and leaves its core to others.
constexpr auto kSpin = std::chrono::microseconds(40);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Whether `ready` came true while spinning.
template <typename Ready>
bool spin_until(std::chrono::nanoseconds limit, Ready ready) {
  if (ready()) return true;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// A word that says which job is open and how many workers are inside it, so that the caller need
// not wait for a worker that never woke up.
constexpr uint64_t kInsideMask = 0xffff, kOpen = 0x10000, kGeneration = 0x20000;
uint64_t generation(uint64_t word) { return word / kGeneration; }

// The tasks of one thread; others take from it when theirs are done.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

// The pool whose task this thread is running, so that a nested call runs in place.
thread_local const void* current_pool = nullptr;
thread_local int current_thread = 0;

class InsideTask {
 public:
  InsideTask(const void* pool, int thread)
      : outer_pool_(std::exchange(current_pool, pool)),
        outer_thread_(std::exchange(current_thread, thread)) {}
  ~InsideTask() {
    current_pool = outer_pool_;
    current_thread = outer_thread_;
  }

 private:
  const void* outer_pool_;
  int outer_thread_;
};

using Task = std::function<void(int64_t task, int thread)>;

void run_here(int64_t tasks, const Task& fn, int thread) {
  for (int64_t task = 0; task < tasks; ++task) fn(task, thread);
}

}  // namespace

struct ThreadPool::State {
  explicit State(int threads) : size(threads), shares(threads), owner(getpid()) {
    // More threads than cores: spinning would only keep others from their work.
    spin = threads <= available_cores() ? kSpin : std::chrono::microseconds(0);
    try {
      for (int i = 1; i < threads; ++i) workers.emplace_back([this, i] { work(i); });
    } catch (...) {
      stop_workers();
      throw;
    }
  }
  ~State() { stop_workers(); }

  void run(int64_t tasks, const Task& fn);
  void run_alone(int64_t tasks, const Task& fn, std::mutex& one_caller);
  void work(int thread);
  void take_tasks(int thread);
  bool enter(uint64_t seen);
  void leave();
  void stop_workers();
  void wake(std::condition_variable& who);
  // After fork() the child has no workers: it computes alone.
  bool forked() const { return getpid() != owner; }

  const int size;
  std::chrono::nanoseconds spin;
  std::vector<Share> shares;
  std::vector<std::thread> workers;
  const pid_t owner;

  std::mutex caller;  // one job at a time
  std::mutex child;   // the same after fork(), when `caller` may have been copied locked
  const Task* job = nullptr;
  int job_threads = 0;
  std::exception_ptr error;
  std::atomic<bool> failed{false};

  alignas(64) std::atomic<uint64_t> word{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> stop{false};
  std::mutex sleep;
  std::condition_variable job_posted, job_left;
};

void ThreadPool::State::take_tasks(int thread) {
  const InsideTask inside(this, thread);
  try {
    for (int i = 0; i < job_threads; ++i) {  // its own share, then what others have left
      Share& share = shares[(thread + i) % job_threads];
      while (!failed.load(std::memory_order_relaxed)) {
        const int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= share.end) break;
        (*job)(task, thread);
      }
    }
  } catch (...) {
    if (!failed.exchange(true)) error = std::current_exception();
  }
}

void ThreadPool::State::run_alone(int64_t tasks, const Task& fn, std::mutex& one_caller) {
  std::lock_guard<std::mutex> lock(one_caller);  // `thread` may name a workspace
  const InsideTask inside(this, 0);
  run_here(tasks, fn, 0);
}

void ThreadPool::State::run(int64_t tasks, const Task& fn) {
  std::lock_guard<std::mutex> lock(caller);
  job = &fn;
  job_threads = static_cast<int>(std::min<int64_t>(size, tasks));
  error = nullptr;
  failed = false;
  for (int i = 0; i < job_threads; ++i) {
    shares[i].next.store(tasks * i / job_threads, std::memory_order_relaxed);
    shares[i].end = tasks * (i + 1) / job_threads;
  }
  word.store((generation(word.load()) + 1) * kGeneration + kOpen);
  if (sleepers.load() > 0) wake(job_posted);

  take_tasks(0);

  word.fetch_and(~kOpen);
  const auto all_left = [this] { return (word.load() & kInsideMask) == 0; };
  if (!spin_until(spin, all_left)) {
    std::unique_lock<std::mutex> guard(sleep);
    caller_sleeps = true;
    job_left.wait(guard, all_left);
    caller_sleeps = false;
  }
  if (error) std::rethrow_exception(std::exchange(error, nullptr));
}

bool ThreadPool::State::enter(uint64_t seen) {
  while ((seen & kOpen) != 0) {
    if (word.compare_exchange_weak(seen, seen + 1)) return true;
  }
  return false;
}

void ThreadPool::State::leave() {
  word.fetch_sub(1);
  if (caller_sleeps.load()) wake(job_left);
}

void ThreadPool::State::work(int thread) {
  uint64_t done = 0;  // the last generation this worker looked at
  const auto posted = [&] { return stop.load() || generation(word.load()) != done; };
  while (true) {
    if (!spin_until(spin, posted)) {
      std::unique_lock<std::mutex> guard(sleep);
      ++sleepers;
      job_posted.wait(guard, posted);
      --sleepers;
    }
    if (stop.load()) return;
    const uint64_t seen = word.load();
    done = generation(seen);
    if (!enter(seen)) continue;
    // Inside, the job cannot change; it may be newer than `seen`.
    done = generation(word.load());
    if (thread < job_threads) take_tasks(thread);
    leave();
  }
}

void ThreadPool::State::wake(std::condition_variable& who) {
  { std::lock_guard<std::mutex> guard(sleep); }  // a waiter has either seen the change or waits
  who.notify_all();
}

void ThreadPool::State::stop_workers() {
  if (forked()) {
    for (auto& worker : workers) worker.detach();
    return;
  }
  stop = true;
  wake(job_posted);
  for (auto& worker : workers) worker.join();
}

ThreadPool::ThreadPool(int threads) {
  GLZ_CHECK(threads >= 0 && threads <= kMaxThreads, kConfig,
            "threads is " << threads << ", must be 0 (all cores) to " << kMaxThreads);
  state_ = std::make_unique<State>(threads == 0 ? available_cores() : threads);
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return state_->size; }

void ThreadPool::parallel_for(int64_t tasks, const Task& fn) {
  if (tasks <= 0) return;
  if (current_pool == state_.get()) return run_here(tasks, fn, current_thread);
  if (state_->forked()) return state_->run_alone(tasks, fn, state_->child);
  if (state_->size == 1) return state_->run_alone(tasks, fn, state_->caller);
  state_->run(tasks, fn);
}

}  // namespace glz
