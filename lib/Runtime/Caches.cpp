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
    : device(other.device), memory(std::exchange(other.memory, nullptr)),
      bytes(other.bytes), window(other.window), ring(other.ring),
      descriptor(other.descriptor) {}

Cache::~Cache() { freeMemory(device, memory, bytes); }

[[noreturn]] static void noMemory(const moe_session &session,
                                  const int64_t *shape) {
  fail(MOE_OUT_OF_MEMORY,
       format("no memory for a cache of %lld positions and %lld sequences; a "
              "smaller context needs less",
              static_cast<long long>(shape[1]),
              static_cast<long long>(session.sequences)));
}

static Cache planCache(const moe_session &session,
                       const moe_value_info &value) {
  Cache cache;
  cache.device = session.device;
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
  if (bytes < 0)
    noMemory(session, shape);
  describe(cache.descriptor, nullptr, shape, value.rank);
  return cache;
}

uint64_t moe::runtime::planCaches(moe_session &session) {
  const moe_program_info &program = *session.model->program;
  const moe_function_info *forward = findFunction(program, "forward");
  if (!program.is_language_model || !forward)
    return 0;
  uint64_t total = 0;
  for (uint32_t i = 0; i < forward->num_inputs; ++i) {
    if (forward->inputs[i].role != MOE_ROLE_CACHE)
      continue;
    session.caches.push_back(planCache(session, forward->inputs[i]));
    if (__builtin_add_overflow(total, session.caches.back().bytes, &total))
      noMemory(session,
               session.caches.back().descriptor.sizes_and_strides);
  }
  return total;
}

/// Bytes that poisoned caches begin with; all bits set is a NaN in every
/// floating-point type.
static constexpr unsigned char nan = 0xff;

void moe::runtime::makeCaches(moe_session &session, bool poison) {
  for (Cache &cache : session.caches) {
    cache.memory = cache.device ? cache.device->allocate(cache.bytes)
                                : mapPages(cache.bytes);
    if (!cache.memory)
      noMemory(session, cache.descriptor.sizes_and_strides);
    cache.descriptor.allocated = cache.descriptor.aligned = cache.memory;
    if (cache.device)
      session.stream->fill(cache.memory, poison ? nan : 0, cache.bytes);
    else if (poison)
      std::memset(cache.memory, nan, cache.bytes);
  }
  if (session.device) {
    session.stream->synchronize();
    session.stream->check("the making of caches");
  }
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
