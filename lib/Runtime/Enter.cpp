// The crossing into generated code and what that code calls back: memory,
// loads and times, all of the session that runs on this thread.
#include "Call.h"
#include "Stack.h"

#include <cstdio>
#include <cstdlib>

using namespace moe::runtime;

// OpenMP's C interface, declared here since no header of it is at a fixed
// place. Weak: a program without parallel loops does not link the library.
extern "C" {
__attribute__((weak)) void omp_set_num_threads(int);
__attribute__((weak)) int omp_get_max_threads(void);
}

namespace {
/// The session of the call in progress; null outside of calls and on the
/// threads of parallel loops.
thread_local moe_session *currentSession = nullptr;

/// Makes a session current and sets the thread count, for the time of a call.
class Scope {
public:
  explicit Scope(moe_session &session) : outer(currentSession) {
    currentSession = &session;
    if (omp_get_max_threads && omp_set_num_threads) {
      threads = omp_get_max_threads();
      omp_set_num_threads(session.threads);
    }
    if (session.profiled)
      session.profile.beginCall();
    session.load.beginCall();
  }
  ~Scope() {
    if (currentSession->profiled)
      currentSession->profile.endCall();
    if (threads)
      omp_set_num_threads(threads);
    currentSession = outer;
  }
  Scope(const Scope &) = delete;
  Scope &operator=(const Scope &) = delete;

private:
  moe_session *outer;
  int threads = 0;
};
} // namespace

/// Apart from everything with destructors, since longjmp returns to it. False
/// if the work space could not grow.
static bool run(moe_session &session, void (*entry)(void **)) {
  if (setjmp(session.outOfMemory))
    return false;
  entry(session.arguments.data());
  return true;
}

void moe::runtime::enter(moe_session &session,
                         const moe_function_info &function) {
  // Kernels of a device run elsewhere.
  checkStack(/*parallel=*/session.threads > 1 && !session.device);
  Scope scope(session);
  if (!run(session, function.entry)) {
    session.workspace.release(0);
    // A device that failed gives no memory either.
    if (session.device)
      finish(session, function);
    fail(MOE_OUT_OF_MEMORY, "out of memory: " + quote(function.name) +
                                " asked for " + bytesText(session.failedBytes) +
                                " of work space beside " +
                                bytesText(session.workspace.reserved()) +
                                "; fewer tokens at a time need less");
  }
  if (session.device && session.profiled)
    session.stream->collect(session.profile);
}

/// Generated code allocates from serial code of a call only.
static moe_session &current() {
  if (!currentSession) {
    std::fputs("error: internal: work space used outside of a call\n", stderr);
    std::abort();
  }
  return *currentSession;
}

void *_mlir_memref_to_llvm_aligned_alloc(size_t alignment, size_t bytes) {
  moe_session &session = current();
  void *memory =
      session.workspace.allocate(bytes, alignment < 64 ? 64 : alignment);
  if (memory)
    return memory;
  session.failedBytes = bytes;
  std::longjmp(session.outOfMemory, 1);
}

void *_mlir_memref_to_llvm_alloc(size_t bytes) {
  return _mlir_memref_to_llvm_aligned_alloc(64, bytes);
}

// Memory goes back by moe_workspace_release, all at once.
void _mlir_memref_to_llvm_free(void *) {}

int64_t moe_workspace_mark(void) { return current().workspace.mark(); }

void moe_workspace_release(int64_t mark) { current().workspace.release(mark); }

void moe_record_load(const int64_t *offsets, int64_t experts) {
  moe_session &session = current();
  if (!session.recordLoad || session.workspace.isMeasuring())
    return;
  if (session.device) {
    session.offsets.resize(static_cast<size_t>(experts) + 1);
    session.stream->copyOut(session.offsets.data(), offsets,
                            session.offsets.size() * sizeof(int64_t));
    offsets = session.offsets.data();
  }
  session.load.record(offsets, experts);
}

// Launches on a device take time later: DeviceStream measures them.
void moe_profile_begin(const char *kernel) {
  moe_session &session = current();
  if (session.profiled && !session.device)
    session.profile.begin(kernel);
}

void moe_profile_end(const char *kernel) {
  moe_session &session = current();
  if (session.profiled && !session.device)
    session.profile.end(kernel);
}

/// The stream of a program for a device; null while work space is measured.
static DeviceStream *currentStream() {
  moe_session &session = current();
  if (!session.device) {
    std::fputs("error: internal: a program without a device launches kernels\n",
               stderr);
    std::abort();
  }
  return session.workspace.isMeasuring() ? nullptr : session.stream.get();
}

void moe_gpu_launch(uint32_t kernel, int64_t blocks, void **parameters) {
  if (DeviceStream *stream = currentStream())
    stream->launch(kernel, blocks, parameters);
}

void *moe_gpu_ticket(void) {
  DeviceStream *stream = currentStream();
  return stream ? stream->ticket() : nullptr;
}

void moe_gpu_tensor_map(void *map, void *memory, uint32_t element,
                        uint32_t rank, const uint64_t *sizes,
                        const uint64_t *strides, const uint32_t *box,
                        uint32_t swizzle) {
  if (DeviceStream *stream = currentStream())
    stream->encodeTensorMap(map, memory, element, rank, sizes, strides, box,
                            swizzle);
}
