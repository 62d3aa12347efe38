// The part of the CUDA driver's interface that the runtime uses, declared here
// so that the project builds and its programs start without CUDA. The
// interface is stable: a function keeps its name and meaning, and a new form
// gets a new suffix.
#ifndef MOE_LIB_RUNTIME_CUDADRIVER_H
#define MOE_LIB_RUNTIME_CUDADRIVER_H

#include <cstddef>
#include <cstdint>
#include <string>

namespace moe::runtime::cuda {

using DevicePointer = unsigned long long;
using Context = struct ContextHandle *;
using Module = struct ModuleHandle *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;

/// CUresult. Values that are not listed have no meaning of their own here.
enum Result : int {
  success = 0,
  outOfMemory = 2,
  stubLibrary = 34,
  deviceUnavailable = 46,
  noDevice = 100,
  invalidImage = 200,
  noBinaryForGpu = 209,
  eccUncorrectable = 214,
  invalidPtx = 218,
  nvlinkUncorrectable = 220,
  unsupportedPtxVersion = 222,
  contained = 226,
  illegalAddress = 700,
  launchTimeout = 702,
  contextIsDestroyed = 709,
  assertFailed = 710,
  hardwareStackError = 714,
  illegalInstruction = 715,
  misalignedAddress = 716,
  invalidAddressSpace = 717,
  invalidPc = 718,
  launchFailed = 719,
  systemDriverMismatch = 803,
  streamCaptureUnsupported = 900,
  externalDevice = 911,
  unknownError = 999
};

enum JitOption : int { jitErrorLogBuffer = 5, jitErrorLogBufferSize = 6 };
enum DeviceAttribute : int {
  computeCapabilityMajor = 75,
  computeCapabilityMinor = 76
};
enum FunctionAttribute : int { maxDynamicSharedBytes = 8 };
enum L2Promotion : int { promote128 = 2 };
enum CaptureMode : int { captureThreadLocal = 1 };
constexpr unsigned streamNonBlocking = 1;

// One line per function: its name in the library and its parameters.
#define MOE_CUDA_FUNCTIONS(F)                                                  \
  F(cuInit, (unsigned))                                                        \
  F(cuGetErrorName, (Result, const char **))                                   \
  F(cuGetErrorString, (Result, const char **))                                 \
  F(cuDriverGetVersion, (int *))                                               \
  F(cuDeviceGetCount, (int *))                                                 \
  F(cuDeviceGet, (int *, int))                                                 \
  F(cuDeviceGetName, (char *, int, int))                                       \
  F(cuDeviceGetAttribute, (int *, DeviceAttribute, int))                       \
  F(cuDevicePrimaryCtxRetain, (Context *, int))                                \
  F(cuDevicePrimaryCtxRelease_v2, (int))                                       \
  F(cuCtxPushCurrent_v2, (Context))                                            \
  F(cuCtxPopCurrent_v2, (Context *))                                           \
  F(cuModuleLoadDataEx,                                                        \
    (Module *, const void *, unsigned, JitOption *, void **))                  \
  F(cuModuleUnload, (Module))                                                  \
  F(cuModuleGetFunction, (Function *, Module, const char *))                   \
  F(cuFuncSetAttribute, (Function, FunctionAttribute, int))                    \
  F(cuMemGetInfo_v2, (size_t *, size_t *))                                     \
  F(cuMemAlloc_v2, (DevicePointer *, size_t))                                  \
  F(cuMemFree_v2, (DevicePointer))                                             \
  F(cuMemHostAlloc, (void **, size_t, unsigned))                               \
  F(cuMemFreeHost, (void *))                                                   \
  F(cuMemcpyHtoDAsync_v2, (DevicePointer, const void *, size_t, Stream))       \
  F(cuMemcpyDtoHAsync_v2, (void *, DevicePointer, size_t, Stream))             \
  F(cuMemsetD8Async, (DevicePointer, unsigned char, size_t, Stream))           \
  F(cuStreamCreate, (Stream *, unsigned))                                      \
  F(cuStreamDestroy_v2, (Stream))                                              \
  F(cuStreamSynchronize, (Stream))                                             \
  F(cuStreamBeginCapture_v2, (Stream, CaptureMode))                            \
  F(cuStreamEndCapture, (Stream, Graph *))                                     \
  F(cuGraphInstantiateWithFlags, (GraphExec *, Graph, unsigned long long))     \
  F(cuGraphLaunch, (GraphExec, Stream))                                        \
  F(cuGraphDestroy, (Graph))                                                   \
  F(cuGraphExecDestroy, (GraphExec))                                           \
  F(cuEventCreate, (Event *, unsigned))                                        \
  F(cuEventDestroy_v2, (Event))                                                \
  F(cuEventRecord, (Event, Stream))                                            \
  F(cuEventElapsedTime, (float *, Event, Event))                               \
  F(cuTensorMapEncodeTiled,                                                    \
    (void *, unsigned, unsigned, void *, const uint64_t *, const uint64_t *,   \
     const uint32_t *, const uint32_t *, int, unsigned, L2Promotion, int))     \
  F(cuLaunchKernel,                                                            \
    (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,     \
     unsigned, Stream, void **, void **))

/// The driver's functions, found in its library.
struct Driver {
  /// Loads `file`, or the system's driver if it is empty, and initialises it.
  /// The library stays loaded until the process ends, as drivers expect.
  /// Throws Error with one line that says what is missing.
  explicit Driver(const std::string &file);

  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  std::string text(Result result) const;

#define MOE_MEMBER(name, parameters) Result(*name) parameters = nullptr;
  MOE_CUDA_FUNCTIONS(MOE_MEMBER)
#undef MOE_MEMBER
};

} // namespace moe::runtime::cuda

#endif // MOE_LIB_RUNTIME_CUDADRIVER_H
