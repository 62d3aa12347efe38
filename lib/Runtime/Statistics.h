// What a session counts while it runs: rows per expert and time per kernel.
#ifndef MOE_LIB_RUNTIME_STATISTICS_H
#define MOE_LIB_RUNTIME_STATISTICS_H

#include "moe/Runtime/Program.h"

#include <vector>

namespace moe::runtime {

/// Rows per expert of each routing plan of a function, in order of execution.
class Load {
public:
  struct Plan {
    std::vector<uint64_t> rows;
    uint64_t calls = 0;
  };

  /// The next plan recorded is the first one again.
  void beginCall() { next = 0; }
  void record(const int64_t *offsets, int64_t experts);
  void clear() { plans.clear(); }

  std::vector<Plan> plans;

private:
  size_t next = 0;
};

/// Wall time per kernel, each without the kernels started inside it.
class Profile {
public:
  struct Kernel {
    const char *name;
    uint64_t calls;
    uint64_t nanoseconds;
  };

  Profile() { clear(); }
  void begin(const char *name);
  void end(const char *name);
  void clear();
  /// The whole call is bracketed by these: what no kernel takes is entry "".
  void beginCall();
  void endCall();
  /// One run of a kernel that was timed by others, within the call in progress:
  /// what was spent outside of kernels is less by its time.
  void add(const char *name, uint64_t nanoseconds);

  std::vector<Kernel> kernels;

private:
  void charge(); ///< gives the time since the last event to the open kernel
  size_t find(const char *name);

  std::vector<size_t> open;
  uint64_t last = 0;
};

/// Monotonic clock in nanoseconds.
uint64_t now();

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_STATISTICS_H
