// The caches of a session: how many rows each has, their memory, and what rings
// have forgotten.
#include "Error.h"
#include "Model.h"
#include "Tensors.h"

#include <algorithm>
#include <cstring>
#include <utility>

using namespace moe::runtime;

Cache::Cache(Cache &&other) noexcept
    : memory(std::exchange(other.memory, nullptr)), bytes(other.bytes),
      window(other.window), ring(other.ring), descriptor(other.descriptor) {}

Cache::~Cache() { unmapPages(memory, bytes); }

static Cache makeCache(const moe_session &session, const moe_value_info &value,
                       bool poison) {
  Cache cache;
  int64_t shape[MOE_MAX_RANK];
  std::memcpy(shape, value.shape, sizeof(shape));
  shape[0] = session.sequences;
  shape[1] = session.context;
  if (value.window) {
    cache.window = value.window;
    shape[1] = moe_ring_rows(value.window, session.context, session.piece);
    cache.ring = shape[1] - moe_ring_mirror(value.window);
  }
  int64_t bytes = countBytes(value.element_type, shape, value.rank);
  cache.bytes = bytes > 0 ? static_cast<size_t>(bytes) : 1;
  cache.memory = bytes < 0 ? nullptr : mapPages(cache.bytes);
  if (!cache.memory)
    fail(MOE_OUT_OF_MEMORY,
         format("no memory for a cache of %lld positions and %lld sequences; "
                "a smaller context needs less",
                static_cast<long long>(shape[1]),
                static_cast<long long>(session.sequences)));
  // All bits set is a NaN in every floating-point type.
  if (poison)
    std::memset(cache.memory, 0xff, cache.bytes);
  describe(cache.descriptor, cache.memory, shape, value.rank);
  return cache;
}

void moe::runtime::makeCaches(moe_session &session, bool poison) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info *forward = findFunction(program, "forward");
  if (!program.is_language_model || !forward)
    return;
  for (uint32_t i = 0; i < forward->num_inputs; ++i)
    if (forward->inputs[i].role == MOE_ROLE_CACHE)
      session.caches.push_back(makeCache(session, forward->inputs[i], poison));
}

bool moe::runtime::keepsWhatIsSeen(const moe_session &session, int64_t sequence,
                                   int64_t position) {
  return position == 0 ||
         std::all_of(session.caches.begin(), session.caches.end(),
                     [&](const Cache &cache) {
                       if (!cache.window)
                         return true;
                       int64_t seen = position - cache.window + 1;
                       return std::max<int64_t>(seen, 0) >=
                              session.written[sequence] - cache.ring;
                     });
}
