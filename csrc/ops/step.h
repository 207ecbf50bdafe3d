// What a plan is made of: steps that only compute. A step is immutable and may run in several
// contexts at once; it never allocates.
#pragma once

#include <cstdint>
#include <string>

#include "view.h"

namespace glz {

struct RunContext {
  char** base = nullptr;  // address of each storage
  char* workspace = nullptr;
  size_t workspace_stride = 0;  // each thread has its own

  template <typename T = char>
  T* at(const Ref& ref) const {
    return reinterpret_cast<T*>(base[ref.storage] + ref.offset);
  }
  void* scratch(int thread) const { return workspace + thread * workspace_stride; }
};

class Step {
 public:
  virtual ~Step() = default;
  // Tasks write disjoint outputs; `thread` says whose scratch to use.
  virtual void run(const RunContext& context, int64_t task, int thread) const = 0;

  // Ways to do the same work, to the bit; only a measurement can tell which is fastest
  // (engine/tuner.h). Way 0 is the planner's guess. choose() is for a plan that nobody runs yet.
  virtual int variants() const { return 1; }
  virtual std::string variant_name(int variant) const {
    (void)variant;
    return "only";
  }
  virtual void choose(int variant) { (void)variant; }
  std::string signature;  // steps of one signature are alike: kernel, geometry, threads

  // Steps of no node: conversions of the network's inputs and outputs.
  static constexpr int32_t kOutputSide = -1, kInputSide = -2;

  int64_t tasks = 1;
  int32_t node = kOutputSide;  // index in the network, or one of the two below
  const char* kernel = "";     // for the profile
  std::string note;            // likewise: why this kernel
  int64_t macs = 0;            // multiply-accumulates
  int64_t bytes = 0;           // read and written, each tensor once
  size_t workspace = 0;        // bytes of scratch a thread
};

}  // namespace glz
