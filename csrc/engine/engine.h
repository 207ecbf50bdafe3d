// Runs a network: plans for the shapes at hand, cached; memory for each call, reused.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../base/thread_pool.h"
#include "plan.h"

namespace glz {

// A plan with the memory of the calls that are under way or over.
class BoundPlan {
 public:
  explicit BoundPlan(std::unique_ptr<Plan> plan, int threads)
      : plan_(std::move(plan)), threads_(threads) {}

  const Plan& plan() const { return *plan_; }
  size_t arena_bytes() const;  // of all calls' memory together

 private:
  friend class Engine;
  friend class Tuner;
  struct Instance {
    Buffer arena, workspace;
    std::vector<char*> base;
  };
  std::unique_ptr<Instance> take();
  void give_back(std::unique_ptr<Instance> instance);
  std::unique_ptr<Instance> make_instance() const;

  const std::unique_ptr<Plan> plan_;
  const int threads_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Instance>> idle_;
  size_t instances_ = 0;
};

// Step::signature -> Step::variant_name: what a measurement found fastest.
using Choices = std::map<std::string, std::string>;

// Safe to use from several threads at once. With one thread calls run side by side; with more they
// take turns, since each uses all of the engine's threads.
class Engine {
 public:
  Engine(std::shared_ptr<const Network> network, int threads);

  const Network& network() const { return *network_; }
  const std::shared_ptr<const Network>& shared_network() const { return network_; }
  int threads() const { return pool_.size(); }

  // The plan for these input shapes, from the cache or made now (and then cached, unless tapped).
  std::shared_ptr<BoundPlan> plan(const std::vector<Shape>& input_shapes,
                                  const std::vector<int32_t>& taps = {});

  // inputs and outputs: row-major arrays of the plan's shapes.
  void run(BoundPlan& bound, const std::vector<const void*>& inputs,
           const std::vector<void*>& outputs);
  // Milliseconds of each step, all chunks together, in each of `repeat` runs.
  std::vector<std::vector<double>> profile(BoundPlan& bound, const std::vector<const void*>& inputs,
                                           const std::vector<void*>& outputs, int repeat);

  // Makes the plan for these input shapes anew with the fastest way of each step: as `choices` say,
  // measured where they say nothing. Returns the choices for all of its steps. Later plans and
  // clones use them too.
  Choices tune(const std::vector<Shape>& input_shapes);
  void set_choices(Choices choices);
  Choices choices() const;

  size_t arena_bytes() const;  // of every cached plan

 private:
  std::shared_ptr<BoundPlan> make_bound(const std::vector<Shape>& input_shapes,
                                        const std::vector<int32_t>& taps) const;

  template <typename Around>
  void run_steps(BoundPlan& bound, const std::vector<const void*>& inputs,
                 const std::vector<void*>& outputs, Around around);

  static constexpr size_t kCachedPlans = 8;
  std::shared_ptr<const Network> network_;
  ThreadPool pool_;
  std::mutex turn_;
  mutable std::mutex cache_mutex_;
  std::vector<std::shared_ptr<BoundPlan>> cache_;  // most recently used last
  Choices choices_;                                // guarded by cache_mutex_
};

}  // namespace glz
