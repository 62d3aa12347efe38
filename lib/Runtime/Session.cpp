// Making and freeing sessions, and reading their statistics.
#include "Call.h"
#include "Generate.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <sched.h>

using namespace moe::runtime;

int moe::runtime::availableThreads() {
  // More CPUs than a plain cpu_set_t holds make the call fail: grow the set.
  for (int limit = CPU_SETSIZE; limit <= (1 << 20); limit *= 2) {
    cpu_set_t *set = CPU_ALLOC(limit);
    if (!set)
      return 1;
    size_t size = CPU_ALLOC_SIZE(limit);
    CPU_ZERO_S(size, set);
    int count = sched_getaffinity(0, size, set) ? 0 : CPU_COUNT_S(size, set);
    CPU_FREE(set);
    if (count > 0)
      return count;
  }
  return 1;
}

/// Many, since each piece reads every weight, but few enough that their work
/// space stays small beside the weights.
static constexpr int64_t defaultPiece = 2048;

static int64_t checkedOption(const char *name, int64_t value, int64_t fallback,
                             int64_t limit) {
  if (value < 0 || value > limit)
    fail(MOE_INVALID_ARGUMENT,
         format("%s is %lld, expected 1 to %lld", name,
                static_cast<long long>(value), static_cast<long long>(limit)));
  return value ? value : fallback;
}

// Here, where all members are complete types.
moe_session::moe_session() = default;
moe_session::~moe_session() = default;

/// The device of the model, loaded by the first session.
static Device *openDevice(moe_model &model) {
  const moe_device_info *device = model.program->device;
  if (device && !model.device)
    model.device = Device::open(*device, model.driver);
  if (model.device)
    model.device->requireUsable();
  return model.device.get();
}

/// Gives the session its stream, and the model its weights on the device.
static void useDevice(moe_session &session, uint64_t caches) {
  Device &device = *session.device;
  const Weights &weights = session.model->weights;
  session.stream = std::make_unique<DeviceStream>(device);
  session.workspace.useDevice(&device);
  device.requireMemory(weights.size(), caches, measureForward(session));
  device.loadWeights(weights.data(), weights.size());
  if (session.profiled)
    session.stream->timeLaunches();
}

/// A program is compiled for so many tokens at once.
static int64_t checkedPiece(const moe_model &model, int64_t value) {
  int64_t piece = checkedOption("piece", value, defaultPiece, INT32_MAX);
  const moe_device_info *device = model.program->device;
  return device ? std::min(piece, device->max_tokens) : piece;
}

moe_status moe_session_create(moe_model *model,
                              const moe_session_options *options,
                              moe_session **session, char *message,
                              size_t message_size) {
  std::string text;
  moe_status status = guard(text, [&] {
    if (!model || !session)
      fail(MOE_INVALID_ARGUMENT, "model or session is null");
    *session = nullptr;
    moe_session_options defaults{};
    defaults.struct_size = sizeof(defaults);
    const moe_session_options &o = options ? *options : defaults;
    if (o.struct_size != sizeof(o))
      fail(MOE_INVALID_ARGUMENT,
           format("struct_size is %u, expected sizeof(moe_session_options) = "
                  "%zu",
                  o.struct_size, sizeof(o)));
    std::unique_lock<std::mutex> lock(model->deviceMutex, std::defer_lock);
    if (model->program->device)
      lock.lock();
    Device *device = openDevice(*model);
    Device::Current current(device);
    auto made = std::make_unique<moe_session>();
    made->model = model;
    made->device = device;
    // Positions and sequence ids are 32-bit integers.
    int64_t limit = model->program->max_context;
    if (limit <= 0 || limit > INT32_MAX)
      limit = INT32_MAX;
    made->threads = static_cast<int>(
        checkedOption("threads", o.threads, availableThreads(), 4096));
    made->context = checkedOption("context", o.context, limit, limit);
    made->sequences = checkedOption("sequences", o.sequences, 1, 1 << 20);
    made->piece = checkedPiece(*model, o.piece);
    made->recordLoad = o.record_load;
    made->profiled = o.profile;
    if (model->program->is_language_model) {
      made->lengths.assign(made->sequences, 0);
      made->written.assign(made->sequences, 0);
    }
    uint64_t caches = planCaches(*made);
    if (device)
      useDevice(*made, caches);
    makeCaches(*made, o.poison_cache);
    ++model->sessions;
    *session = made.release();
  });
  copyMessage(text, message, message_size);
  return status;
}

moe_status moe_session_destroy(moe_session *session) {
  if (!session)
    return MOE_OK;
  if (session->busy)
    return MOE_BUSY;
  --session->model->sessions;
  Device::Current current(session->device);
  delete session;
  return MOE_OK;
}

const char *moe_session_message(const moe_session *session) {
  return session ? session->message.c_str() : "session is null";
}

moe_status moe_session_length(moe_session *session, int64_t sequence,
                              int64_t *length) {
  if (!session || !length)
    return MOE_INVALID_ARGUMENT;
  session->message.clear();
  return guard(session->message, [&] {
    if (sequence < 0 ||
        sequence >= static_cast<int64_t>(session->lengths.size()))
      fail(MOE_INVALID_ARGUMENT, format("sequence is %lld, expected 0 to %zu",
                                        static_cast<long long>(sequence),
                                        session->lengths.size() - 1));
    *length = session->lengths[sequence];
  });
}

moe_status moe_session_reset(moe_session *session) {
  if (!session)
    return MOE_INVALID_ARGUMENT;
  session->message.clear();
  session->lengths.assign(session->lengths.size(), 0);
  return MOE_OK;
}

moe_status moe_session_load(moe_session *session, size_t index,
                            moe_load *load) {
  if (!session || !load || index >= session->load.plans.size())
    return MOE_INVALID_ARGUMENT;
  const Load::Plan &plan = session->load.plans[index];
  const moe_program_info &program = *session->model->program;
  *load = {};
  load->layer = index < program.num_moe_layers ? program.moe_layers[index]
                                               : static_cast<int32_t>(index);
  load->experts = static_cast<int64_t>(plan.rows.size());
  load->calls = plan.calls;
  for (uint64_t rows : plan.rows)
    load->total_rows += rows;
  load->rows = plan.rows.data();
  return MOE_OK;
}

moe_status moe_session_profile(moe_session *session, size_t index,
                               moe_profile_entry *entry) {
  if (!session || !entry || !session->profiled ||
      index >= session->profile.kernels.size())
    return MOE_INVALID_ARGUMENT;
  const Profile::Kernel &kernel = session->profile.kernels[index];
  *entry = {kernel.name, kernel.calls, kernel.nanoseconds};
  return MOE_OK;
}

moe_status moe_session_clear(moe_session *session) {
  if (!session)
    return MOE_INVALID_ARGUMENT;
  session->load.clear();
  session->profile.clear();
  return MOE_OK;
}
