// Compiled where CUDA is installed: compares the runtime's own declarations of the driver with cuda.h. Types may have
// other names there, so parameters are compared by size and kind.
#include <cuda.h>

#include "CudaDriver.h"

#include <type_traits>

namespace cuda = moe::runtime::cuda;

template <typename A, typename B>
constexpr bool alike = sizeof(A) == sizeof(B) &&
                       std::is_pointer<A>::value == std::is_pointer<B>::value;

template <typename A, typename B> struct Same : std::false_type {};
template <typename R, typename S, typename... A, typename... B>
struct Same<R (*)(A...), S (*)(B...)> {
  static constexpr bool count = sizeof...(A) == sizeof...(B);
  template <bool> struct Each {
    static constexpr bool value = false;
  };
  static constexpr bool value = [] {
    if constexpr (count)
      return (alike<A, B> && ... && alike<R, S>);
    else
      return false;
  }();
};

#define CHECK(name, parameters)                                                \
  static_assert(Same<decltype(cuda::Driver::name), decltype(&::name)>::value,  \
                #name);
MOE_CUDA_FUNCTIONS(CHECK)

#define EQUAL(ours, theirs)                                                    \
  static_assert(static_cast<int>(cuda::ours) == static_cast<int>(theirs),      \
                #ours);
EQUAL(promote128, CU_TENSOR_MAP_L2_PROMOTION_L2_128B)
EQUAL(success, CUDA_SUCCESS)
EQUAL(outOfMemory, CUDA_ERROR_OUT_OF_MEMORY)
EQUAL(stubLibrary, CUDA_ERROR_STUB_LIBRARY)
EQUAL(deviceUnavailable, CUDA_ERROR_DEVICE_UNAVAILABLE)
EQUAL(noDevice, CUDA_ERROR_NO_DEVICE)
EQUAL(invalidImage, CUDA_ERROR_INVALID_IMAGE)
EQUAL(noBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU)
EQUAL(eccUncorrectable, CUDA_ERROR_ECC_UNCORRECTABLE)
EQUAL(invalidPtx, CUDA_ERROR_INVALID_PTX)
EQUAL(nvlinkUncorrectable, CUDA_ERROR_NVLINK_UNCORRECTABLE)
EQUAL(unsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
EQUAL(illegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS)
EQUAL(launchTimeout, CUDA_ERROR_LAUNCH_TIMEOUT)
EQUAL(contextIsDestroyed, CUDA_ERROR_CONTEXT_IS_DESTROYED)
EQUAL(assertFailed, CUDA_ERROR_ASSERT)
EQUAL(hardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR)
EQUAL(illegalInstruction, CUDA_ERROR_ILLEGAL_INSTRUCTION)
EQUAL(misalignedAddress, CUDA_ERROR_MISALIGNED_ADDRESS)
EQUAL(invalidAddressSpace, CUDA_ERROR_INVALID_ADDRESS_SPACE)
EQUAL(invalidPc, CUDA_ERROR_INVALID_PC)
EQUAL(launchFailed, CUDA_ERROR_LAUNCH_FAILED)
EQUAL(systemDriverMismatch, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)
EQUAL(externalDevice, CUDA_ERROR_EXTERNAL_DEVICE)
EQUAL(unknownError, CUDA_ERROR_UNKNOWN)
EQUAL(jitErrorLogBuffer, CU_JIT_ERROR_LOG_BUFFER)
EQUAL(jitErrorLogBufferSize, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
EQUAL(computeCapabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
EQUAL(computeCapabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
EQUAL(maxDynamicSharedBytes, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
EQUAL(captureThreadLocal, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
EQUAL(streamNonBlocking, CU_STREAM_NON_BLOCKING)
