// The objects behind moe_model and moe_session.
#ifndef MOE_LIB_RUNTIME_MODEL_H
#define MOE_LIB_RUNTIME_MODEL_H

#include "Statistics.h"
#include "Weights.h"
#include "Workspace.h"
#include "moe/Runtime/Runtime.h"

#include <atomic>
#include <csetjmp>
#include <string>
#include <vector>

struct moe_model {
  const moe_program_info *program = nullptr;
  moe::runtime::Weights weights;
  std::atomic<int> sessions{0};
};

namespace moe::runtime {

/// One cache of the language model: [sequences, rows, ...].
struct Cache {
  void *memory = nullptr;
  size_t bytes = 0;
  int64_t window = 0; ///< not 0: a ring, see Program.h
  int64_t ring = 0;   ///< positions that a ring keeps
  moe_descriptor descriptor{};

  Cache() = default;
  Cache(const Cache &) = delete;
  Cache &operator=(const Cache &) = delete;
  Cache(Cache &&other) noexcept;
  ~Cache();
};

/// The function that `program` has under this name, null if none.
const moe_function_info *findFunction(const moe_program_info &program,
                                      const std::string &name);

/// Name of an input or output for messages and files: its own, or its number.
std::string valueName(const moe_value_info &value, size_t index);

/// Makes the descriptor of a contiguous tensor.
void describe(moe_descriptor &descriptor, void *data, const int64_t *shape,
              size_t rank);

/// Reserves the caches of the language model.
void makeCaches(moe_session &session, bool poison);

/// Whether the caches hold all that a token at `position` of `sequence` sees
/// before itself.
bool keepsWhatIsSeen(const moe_session &session, int64_t sequence,
                     int64_t position);

/// CPUs this process may run on.
int availableThreads();

} // namespace moe::runtime

struct moe_session {
  moe_model *model = nullptr;
  int threads = 1;
  int64_t context = 0;
  int64_t sequences = 1;
  int64_t piece = 0; ///< most tokens that are computed at once
  bool recordLoad = false;
  bool profiled = false;

  std::vector<moe::runtime::Cache> caches; ///< in the order of "forward"
  std::vector<int64_t> lengths;            ///< positions each sequence holds
  std::vector<int64_t> written; ///< positions each sequence had at most since
                                ///< it began at 0
  moe::runtime::Workspace workspace;
  moe::runtime::Load load;
  moe::runtime::Profile profile;
  std::string message;
  std::atomic<bool> busy{false};

  // Scratch of one call, kept so that nothing is allocated per token.
  std::vector<moe_descriptor> descriptors;
  std::vector<int64_t> scalars;
  std::vector<void *> arguments;
  std::vector<int32_t> positions, sequenceIds;
  std::vector<int64_t> newLengths;
  std::vector<std::vector<char>> copies; ///< results that lay scattered

  // Where an allocation that cannot be served goes back to.
  jmp_buf outOfMemory;
  size_t failedBytes = 0;
};

namespace moe::runtime {

/// Runs a function of the program with its session as the current one of this
/// thread. Throws Error if it runs out of memory.
void enter(moe_session &session, const moe_function_info &function);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_MODEL_H
