#include "tuner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

namespace glz {
namespace {

// A way must be faster than the guess by this factor; less is noise.
constexpr double kClearly = 0.97;
// Runs of the network in one measurement of one way: as many as fit the time, within these bounds.
constexpr double kMillisecondsAWay = 60;
constexpr int kFewestRuns = 3, kMostRuns = 12;

int find_variant(const Step& step, const std::string& name) {
  for (int i = 0; i < step.variants(); ++i) {
    if (step.variant_name(i) == name) return i;
  }
  return -1;
}

}  // namespace

bool apply_choice(const Choices& choices, Step* step) {
  if (step->variants() == 1) return false;
  const auto found = choices.find(step->signature);
  const int variant = found == choices.end() ? -1 : find_variant(*step, found->second);
  if (variant < 0) return false;
  step->choose(variant);
  return true;
}

Tuner::Tuner(Engine* engine, BoundPlan* bound) : engine_(*engine), bound_(*bound) {
  const auto add_array = [this](int64_t elements) {
    arrays_.emplace_back(static_cast<size_t>(elements) * sizeof(float));
    std::memset(arrays_.back().data(), 0, arrays_.back().size());
    return arrays_.back().data();
  };
  const Plan& plan = bound_.plan();
  for (const Shape& shape : plan.input_shapes) {
    inputs_.push_back(add_array(product(shape, 0, shape.size())));
  }
  for (const TensorType& type : plan.outputs) outputs_.push_back(add_array(type.elements()));
}

size_t Tuner::Contest::fastest() const {
  return std::min_element(milliseconds.begin(), milliseconds.end()) - milliseconds.begin();
}

Tuner::Contests Tuner::find_contests(const Choices& known, Choices* settled) {
  Contests contests;
  for (size_t i = 0; i < bound_.plan().steps.size(); ++i) {
    const std::string& signature = step(i).signature;
    if (step(i).variants() == 1) continue;
    if (apply_choice(known, &step(i))) {
      (*settled)[signature] = known.at(signature);
      continue;
    }
    Contest& contest = contests[signature];
    contest.steps.push_back(i);
    contest.ways.resize(step(i).variants());
    for (size_t way = 0; way < contest.ways.size(); ++way)
      contest.ways[way] = static_cast<int>(way);
  }
  return contests;
}

// All contests at once: run after run, each with the next of its ways.
void Tuner::measure(Contests* contests) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  size_t ways = 0;
  for (const auto& [signature, contest] : *contests) ways = std::max(ways, contest.ways.size());
  std::vector<std::vector<double>> shortest(
      ways, std::vector<double>(bound_.plan().steps.size(), kNever));
  int rounds = kFewestRuns;
  for (int round = 0; round < rounds; ++round) {
    for (size_t way = 0; way < ways; ++way) {
      for (const auto& [signature, contest] : *contests) {
        const int chosen = contest.ways[std::min(way, contest.ways.size() - 1)];
        for (size_t i : contest.steps) step(i).choose(chosen);
      }
      const auto times = engine_.profile(bound_, inputs_, outputs_, 1);
      double whole = 0;
      for (size_t i = 0; i < times.size(); ++i) {
        shortest[way][i] = std::min(shortest[way][i], times[i][0]);
        whole += times[i][0];
      }
      if (round == 0 && way == 0) {
        rounds = std::clamp(static_cast<int>(kMillisecondsAWay / std::max(2 * whole, 1e-3)),
                            kFewestRuns, kMostRuns);
      }
    }
  }
  for (auto& [signature, contest] : *contests) {
    contest.milliseconds.assign(contest.ways.size(), 0.0);
    for (size_t way = 0; way < contest.ways.size(); ++way) {
      for (size_t i : contest.steps) contest.milliseconds[way] += shortest[way][i];
    }
  }
}

void Tuner::settle(const std::string& signature, const Contest& contest, int way,
                   Choices* choices) {
  (*choices)[signature] = step(contest.steps[0]).variant_name(way);
  for (size_t i : contest.steps) step(i).choose(way);
}

Choices Tuner::tune(const Choices& known) {
  Choices choices;
  Contests contests = find_contests(known, &choices);
  if (contests.empty()) return choices;
  measure(&contests);
  Contests finals;  // the winners against the guesses once more: the first time may have been luck
  for (const auto& [signature, contest] : contests) {
    const size_t best = contest.fastest();
    if (contest.milliseconds[best] < kClearly * contest.milliseconds[0]) {
      finals[signature] = {contest.steps, {0, contest.ways[best]}, {}};
    } else {
      settle(signature, contest, 0, &choices);
    }
  }
  if (!finals.empty()) measure(&finals);
  for (const auto& [signature, contest] : finals) {
    const bool wins = contest.milliseconds[1] < kClearly * contest.milliseconds[0];
    settle(signature, contest, wins ? contest.ways[1] : 0, &choices);
  }
  return choices;
}

}  // namespace glz
