// Times of a function on its device, without the copies of a call: the launches
// of one run after the other, between events, with caches emptied in between.
#include "Call.h"

using namespace moe::runtime;

static void check(const moe_session &session,
                  const moe_measurement *measurement) {
  if (!measurement || measurement->struct_size != sizeof(moe_measurement))
    fail(MOE_INVALID_ARGUMENT,
         format("struct_size is %u, expected sizeof(moe_measurement) = %zu",
                measurement ? measurement->struct_size : 0,
                sizeof(moe_measurement)));
  if (!session.device)
    fail(MOE_INVALID_ARGUMENT, "the program runs on the CPU: measuring is for "
                               "programs that run on a GPU");
  if (session.recordLoad || session.profiled)
    fail(MOE_INVALID_ARGUMENT,
         "the session records loads or profiles, which would be measured");
  if (measurement->runs < 1 || measurement->warmups < 0 ||
      measurement->flush_bytes < 0 || !measurement->milliseconds)
    fail(MOE_INVALID_ARGUMENT,
         "expected at least 1 run, no negative number, and memory for the "
         "times");
}

namespace {
/// Memory that is written to put other things out of caches.
class Flush {
public:
  Flush(moe_session &session, size_t bytes)
      : session(session), bytes(bytes),
        memory(bytes ? session.device->allocate(bytes) : nullptr) {
    if (bytes && !memory)
      fail(MOE_OUT_OF_MEMORY,
           "no device memory for " + bytesText(bytes) + " to empty caches");
  }
  ~Flush() {
    if (memory)
      session.device->free(memory);
  }
  Flush(const Flush &) = delete;
  Flush &operator=(const Flush &) = delete;

  void run() {
    if (memory)
      session.stream->fill(memory, 0, bytes);
  }

private:
  moe_session &session;
  size_t bytes;
  void *memory;
};

/// The runs of one function on inputs that are already there.
class Runs {
public:
  Runs(moe_session &session, const moe_function_info &function)
      : session(session), function(function), mark(session.workspace.mark()) {}

  /// By the host code of the function. Takes the same work space every time.
  void launch() {
    session.workspace.release(mark);
    enter(session, function);
  }

  /// From here on `run` replays what one launch queues.
  void capture() {
    graph = session.stream->capture(function.name, [&] { launch(); });
  }

  void run() {
    if (graph)
      session.stream->launch(*graph);
    else
      launch();
  }

private:
  moe_session &session;
  const moe_function_info &function;
  int64_t mark; ///< behind the inputs
  std::unique_ptr<DeviceGraph> graph;
};
} // namespace

moe_status moe_session_measure(moe_session *session, const char *function,
                               const moe_tensor *inputs, size_t num_inputs,
                               moe_tensor *outputs, size_t num_outputs,
                               const moe_measurement *measurement) {
  return call(session, [&] {
    const moe_function_info &found = requireFunction(
        *session, function, inputs, num_inputs, outputs, num_outputs);
    check(*session, measurement);
    Flush flush(*session, static_cast<size_t>(measurement->flush_bytes));
    prepare(*session, found);
    passInputs(*session, found, inputs);
    Runs runs(*session, found);
    // Takes the work space that a captured run finds, and loads kernels.
    runs.launch();
    finish(*session, found);
    if (measurement->graph)
      runs.capture();
    for (int64_t i = 0; i < measurement->warmups; ++i)
      runs.run();
    size_t first = 0;
    for (int64_t i = 0; i < measurement->runs; ++i) {
      flush.run();
      // Launches of host code would otherwise hide behind what is queued.
      if (!measurement->graph)
        session->stream->synchronize();
      size_t begin = session->stream->takeTime();
      first = i ? first : begin;
      runs.run();
      session->stream->takeTime();
    }
    finish(*session, found);
    for (int64_t i = 0; i < measurement->runs; ++i) {
      size_t begin = first + 2 * static_cast<size_t>(i);
      measurement->milliseconds[i] = session->stream->between(begin, begin + 1);
    }
    giveOutputs(*session, found, outputs);
  });
}
