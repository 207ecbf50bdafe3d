// Finds the fastest way of each step of a plan by running the whole network: each step is timed
// where it will run, behind the steps that fill the caches for it.
#pragma once

#include "engine.h"

namespace glz {

// Makes `step` work as `choices` say for its signature, if they do and it can. Returns whether.
bool apply_choice(const Choices& choices, Step* step);

class Tuner {
 public:
  // `bound` is the tuner's own: its steps change. Nobody else runs it.
  Tuner(Engine* engine, BoundPlan* bound);

  // The fastest way of each step that has several; `known` ones are not measured again. A way
  // replaces the planner's guess only if it was clearly faster in both of two measurements.
  Choices tune(const Choices& known);

 private:
  // Steps of one signature, and the ways that compete for them.
  struct Contest {
    std::vector<size_t> steps;
    std::vector<int> ways;
    std::vector<double> milliseconds;  // of each way: the shortest of each step, summed
    size_t fastest() const;
  };
  using Contests = std::map<std::string, Contest>;

  Contests find_contests(const Choices& known, Choices* settled);
  void measure(Contests* contests);
  void settle(const std::string& signature, const Contest& contest, int way, Choices* choices);
  Step& step(size_t index) { return *bound_.plan_->steps[index]; }

  Engine& engine_;
  BoundPlan& bound_;
  std::vector<Buffer> arrays_;  // the network's inputs and outputs
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};

}  // namespace glz
