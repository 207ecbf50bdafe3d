#include "engine.h"

#include <algorithm>
#include <chrono>

#include "tuner.h"

namespace glz {

// ---------------------------------------------------------------- memory of a call
size_t BoundPlan::arena_bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return instances_ * (plan_->arena_bytes + plan_->workspace_bytes * threads_);
}

std::unique_ptr<BoundPlan::Instance> BoundPlan::make_instance() const {
  auto instance = std::make_unique<Instance>();
  instance->arena = Buffer(plan_->arena_bytes);
  instance->workspace = Buffer(round_up(plan_->workspace_bytes, 64) * threads_);
  for (const Storage& storage : plan_->storages) {
    char* address = nullptr;
    if (storage.kind == Storage::Kind::kArena) {
      address = instance->arena.as<char>() + storage.offset;
    } else if (storage.kind == Storage::Kind::kConstant) {
      address = static_cast<char*>(const_cast<void*>(storage.constant));
    }
    instance->base.push_back(address);
  }
  return instance;
}

std::unique_ptr<BoundPlan::Instance> BoundPlan::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      auto instance = std::move(idle_.back());
      idle_.pop_back();
      return instance;
    }
    ++instances_;
  }
  try {
    return make_instance();
  } catch (...) {
    const std::lock_guard<std::mutex> lock(mutex_);
    --instances_;
    throw;
  }
}

void BoundPlan::give_back(std::unique_ptr<Instance> instance) {
  const std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(instance));
}

// ---------------------------------------------------------------- plans
Engine::Engine(std::shared_ptr<const Network> network, int threads)
    : network_(std::move(network)), pool_(threads) {
  // Plan now if the shapes are known (any batch: 1), so that errors and packing come at load.
  std::vector<Shape> shapes;
  for (const ModelInput& input : network_->inputs()) {
    Shape shape = input.shape;
    if (!shape.empty() && shape[0] == 0) shape[0] = 1;
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) {
      network_->check_stored();
      return;
    }
    shapes.push_back(std::move(shape));
  }
  plan(shapes);
}

std::shared_ptr<BoundPlan> Engine::plan(const std::vector<Shape>& input_shapes,
                                        const std::vector<int32_t>& taps) {
  GLZ_CHECK(input_shapes.size() == network_->inputs().size(), kShape,
            "network '" << network_->name() << "' takes " << network_->inputs().size()
                        << " inputs, not " << input_shapes.size());
  const std::lock_guard<std::mutex> lock(cache_mutex_);
  if (!taps.empty()) return make_bound(input_shapes, taps);
  const auto found = std::find_if(cache_.begin(), cache_.end(), [&](const auto& bound) {
    return bound->plan().input_shapes == input_shapes;
  });
  if (found != cache_.end()) {
    std::rotate(found, found + 1, cache_.end());
  } else {
    cache_.push_back(make_bound(input_shapes, {}));
    if (cache_.size() > kCachedPlans) cache_.erase(cache_.begin());
  }
  return cache_.back();
}

std::shared_ptr<BoundPlan> Engine::make_bound(const std::vector<Shape>& input_shapes,
                                              const std::vector<int32_t>& taps) const {
  auto plan = make_plan(network_, input_shapes, threads(), taps);
  for (const auto& step : plan->steps) apply_choice(choices_, step.get());
  return std::make_shared<BoundPlan>(std::move(plan), threads());
}

Choices Engine::choices() const {
  const std::lock_guard<std::mutex> lock(cache_mutex_);
  return choices_;
}

void Engine::set_choices(Choices choices) {
  const std::lock_guard<std::mutex> lock(cache_mutex_);
  choices_ = std::move(choices);
  cache_.clear();
}

Choices Engine::tune(const std::vector<Shape>& input_shapes) {
  BoundPlan own(make_plan(network_, input_shapes, threads(), {}), threads());
  const Choices found = Tuner(this, &own).tune(choices());
  const std::lock_guard<std::mutex> lock(cache_mutex_);
  for (const auto& [signature, name] : found) choices_[signature] = name;
  const auto same = [&](const auto& bound) { return bound->plan().input_shapes == input_shapes; };
  cache_.erase(std::remove_if(cache_.begin(), cache_.end(), same), cache_.end());
  cache_.push_back(make_bound(input_shapes, {}));
  if (cache_.size() > kCachedPlans) cache_.erase(cache_.begin());
  return found;
}

size_t Engine::arena_bytes() const {
  const std::lock_guard<std::mutex> lock(cache_mutex_);
  size_t bytes = 0;
  for (const auto& bound : cache_) bytes += bound->arena_bytes();
  return bytes;
}

// ---------------------------------------------------------------- running
template <typename Around>
void Engine::run_steps(BoundPlan& bound, const std::vector<const void*>& inputs,
                       const std::vector<void*>& outputs, Around around) {
  std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
  if (pool_.size() > 1) turn.lock();
  const Plan& plan = bound.plan();
  auto instance = bound.take();
  for (size_t i = 0; i < plan.storages.size(); ++i) {
    const Storage& storage = plan.storages[i];
    if (storage.kind == Storage::Kind::kInput) {
      instance->base[i] = static_cast<char*>(const_cast<void*>(inputs[storage.index]));
    } else if (storage.kind == Storage::Kind::kOutput) {
      instance->base[i] = static_cast<char*>(outputs[storage.index]);
    }
  }
  const RunContext context{instance->base.data(), instance->workspace.as<char>(),
                           static_cast<size_t>(round_up(plan.workspace_bytes, 64))};
  const auto run_part = [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      const Step& step = *plan.steps[i];
      around(i, [&] {
        if (step.tasks == 1 || pool_.size() == 1) {
          for (int64_t task = 0; task < step.tasks; ++task) step.run(context, task, 0);
        } else {
          pool_.parallel_for(step.tasks, [&context, &step](int64_t task, int thread) {
            step.run(context, task, thread);
          });
        }
      });
    }
  };
  const auto move_on = [&](int64_t chunks) {
    for (size_t i = 0; i < plan.storages.size(); ++i) {
      instance->base[i] += chunks * plan.storages[i].advance;
    }
  };
  for (int64_t chunk = 0; chunk < plan.chunks && plan.head_steps > 0; ++chunk) {
    run_part(0, plan.head_steps);
    move_on(1);
  }
  if (plan.head_steps > 0) move_on(-plan.chunks);
  run_part(plan.head_steps, plan.steps.size());
  bound.give_back(std::move(instance));
}

void Engine::run(BoundPlan& bound, const std::vector<const void*>& inputs,
                 const std::vector<void*>& outputs) {
  run_steps(bound, inputs, outputs, [](size_t, const auto& step) { step(); });
}

std::vector<std::vector<double>> Engine::profile(BoundPlan& bound,
                                                 const std::vector<const void*>& inputs,
                                                 const std::vector<void*>& outputs, int repeat) {
  using Clock = std::chrono::steady_clock;
  run(bound, inputs, outputs);  // warm up
  std::vector<std::vector<double>> times(bound.plan().steps.size());
  for (int i = 0; i < repeat; ++i) {
    for (auto& of_step : times) of_step.push_back(0.0);
    run_steps(bound, inputs, outputs, [&](size_t index, const auto& step) {
      const auto begin = Clock::now();
      step();
      times[index].back() +=
          std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    });
  }
  return times;
}

}  // namespace glz
