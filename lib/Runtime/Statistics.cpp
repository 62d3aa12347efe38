// Counting of expert loads and of time per kernel. Both are fed by serial
// code of one call, so they need no locks.
#include "Statistics.h"

#include <algorithm>
#include <cstring>
#include <ctime>

using namespace moe::runtime;

uint64_t moe::runtime::now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u +
         static_cast<uint64_t>(time.tv_nsec);
}

void Load::record(const int64_t *offsets, int64_t experts) {
  if (next == plans.size())
    plans.emplace_back();
  Plan &plan = plans[next++];
  if (plan.rows.size() < static_cast<size_t>(experts))
    plan.rows.resize(experts);
  for (int64_t i = 0; i < experts; ++i)
    plan.rows[i] += static_cast<uint64_t>(offsets[i + 1] - offsets[i]);
  ++plan.calls;
}

void Profile::clear() {
  kernels.assign(1, {"", 0, 0});
  open.clear();
}

void Profile::charge() {
  uint64_t time = now();
  if (!open.empty())
    kernels[open.back()].nanoseconds += time - last;
  last = time;
}

size_t Profile::find(const char *name) {
  // Names are constants of the program, so that a pointer usually decides; two
  // functions may still hold two copies of one name.
  for (size_t i = 0; i < kernels.size(); ++i)
    if (kernels[i].name == name)
      return i;
  for (size_t i = 0; i < kernels.size(); ++i)
    if (!std::strcmp(kernels[i].name, name))
      return i;
  kernels.push_back({name, 0, 0});
  return kernels.size() - 1;
}

void Profile::begin(const char *name) {
  charge();
  size_t kernel = find(name);
  ++kernels[kernel].calls;
  open.push_back(kernel);
}

void Profile::end(const char *) {
  charge();
  if (open.size() > 1)
    open.pop_back();
}

void Profile::add(const char *name, uint64_t nanoseconds) {
  charge();
  size_t kernel = find(name);
  ++kernels[kernel].calls;
  kernels[kernel].nanoseconds += nanoseconds;
  kernels[0].nanoseconds -= std::min(kernels[0].nanoseconds, nanoseconds);
}

void Profile::beginCall() {
  open.assign(1, 0);
  ++kernels[0].calls;
  last = now();
}

void Profile::endCall() {
  charge();
  open.clear();
}
