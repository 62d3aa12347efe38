// The objects behind moe_model and moe_session.
#ifndef MOE_LIB_RUNTIME_MODEL_H
#define MOE_LIB_RUNTIME_MODEL_H

#include "Device.h"
#include "Statistics.h"
#include "Weights.h"
#include "Workspace.h"
#include "moe/Runtime/Runtime.h"

#include <atomic>
#include <csetjmp>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct moe_model {
  const moe_program_info *program = nullptr;
  moe::runtime::Weights weights;
  std::atomic<int> sessions{0};
  std::string driver; ///< file of the device's driver, empty: the system's
  std::mutex deviceMutex; ///< held while a session of a device is made
  std::unique_ptr<moe::runtime::Device> device; ///< from the first session on
};

namespace moe::runtime {

/// One cache of the language model: [sequences, rows, ...].
struct Cache {
  Device *device = nullptr; ///< null: pages of the system
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

class DecodeGraph;

/// The function that `program` has under this name, null if none.
const moe_function_info *findFunction(const moe_program_info &program,
                                      const std::string &name);

/// Name of an input or output for messages and files: its own, or its number.
std::string valueName(const moe_value_info &value, size_t index);

/// Makes the descriptor of a contiguous tensor.
void describe(moe_descriptor &descriptor, void *data, const int64_t *shape,
              size_t rank);

/// Lays out the caches of the language model and says how many bytes they
/// take, or fails if that is no number of bytes.
uint64_t planCaches(moe_session &session);

/// Reserves their memory.
void makeCaches(moe_session &session, bool poison);

/// Whether the runtime calls this function by itself: it takes the state of a
/// language model.
bool takesState(const moe_function_info &function);

/// Whether the caches hold all that a token at `position` of `sequence` sees
/// before itself.
bool keepsWhatIsSeen(const moe_session &session, int64_t sequence,
                     int64_t position);

/// CPUs this process may run on.
int availableThreads();

/// The token of the largest logit, the lowest of equal ones; NaN never wins.
/// Throws Error if every logit is NaN.
int32_t argmax(const float *logits, int64_t count);

/// Whether `id` ends a text.
bool isEos(const moe_program_info &program, int32_t id);

} // namespace moe::runtime

struct moe_session {
  moe_session();
  ~moe_session();

  moe_model *model = nullptr;
  int threads = 1;
  int64_t context = 0;
  int64_t sequences = 1;
  int64_t piece = 0; ///< most tokens that are computed at once
  bool recordLoad = false;
  bool profiled = false;
  moe::runtime::Device *device = nullptr; ///< null: the program is for the CPU
  std::unique_ptr<moe::runtime::DeviceStream> stream; ///< with a device

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
  std::vector<std::vector<char>> copies; ///< results that lay scattered, or
                                         ///< on the device
  std::vector<int64_t> offsets;          ///< of moe_record_load
  std::vector<float> logits;             ///< of one token, see Generate.cpp
  std::unique_ptr<moe::runtime::DecodeGraph> decode;

  // Where an allocation that cannot be served goes back to.
  jmp_buf outOfMemory;
  size_t failedBytes = 0;
};

namespace moe::runtime {

/// Runs a function of the program with its session as the current one of this
/// thread. Throws Error if it runs out of memory; what a device refuses, `finish`
/// says.
void enter(moe_session &session, const moe_function_info &function);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_MODEL_H
