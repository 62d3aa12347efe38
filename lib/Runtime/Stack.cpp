// Whether generated code fits on the stacks that it will run on: one line in
// place of a segmentation fault where somebody has lowered the limits.
#include "Stack.h"
#include "Error.h"

#include <cstdint>
#include <pthread.h>

using namespace moe::runtime;

// Of LLVM's OpenMP library. Weak: a program without parallel loops does not
// link it.
extern "C" __attribute__((weak)) size_t kmp_get_stacksize_s(void);

/// The compiler puts at most 256 KiB of buffers of one parallel loop on the
/// stack. The rest is for frames of vector code that ran out of registers, and
/// for the start of the OpenMP library.
constexpr size_t kNeeded = 512 << 10;

static size_t kibibytes(size_t bytes) { return bytes >> 10; }

/// Bytes between here and the end of the calling thread's stack; SIZE_MAX where
/// that is not known, as on a stack that the caller made.
static size_t remainingStack() {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes))
    return SIZE_MAX;
  void *lowest;
  size_t size;
  int error = pthread_attr_getstack(&attributes, &lowest, &size);
  pthread_attr_destroy(&attributes);
  uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)),
            end = reinterpret_cast<uintptr_t>(lowest);
  return error || here < end || here - end > size ? SIZE_MAX : here - end;
}

void moe::runtime::checkStack(bool parallel) {
  // The question is not free, and threads keep their stacks.
  thread_local bool known = false;
  if (!known) {
    size_t left = remainingStack();
    if (left < kNeeded)
      fail(MOE_OUT_OF_MEMORY,
           format("the stack has %zu KiB left, expected at least %zu KiB: "
                  "raise its limit (ulimit -s 8192)",
                  kibibytes(left), kibibytes(kNeeded)));
    known = true;
  }
  if (!parallel || !kmp_get_stacksize_s)
    return;
  size_t size = kmp_get_stacksize_s();
  if (size < kNeeded)
    fail(MOE_OUT_OF_MEMORY,
         format("OMP_STACKSIZE gives threads %zu KiB of stack, expected at "
                "least %zu KiB: unset it or raise it",
                kibibytes(size), kibibytes(kNeeded)));
}
