// Choosing a device, loading a program's kernels and weights there, and what
// is said when that fails.
#include "Device.h"

#include "Error.h"
#include "Workspace.h"

#include <algorithm>
#include <cstring>

using namespace moe::runtime;
using namespace moe::runtime::cuda;

/// Errors after which the driver refuses everything until the process ends.
static bool isLost(Result result) {
  switch (result) {
  case deviceUnavailable:
  case eccUncorrectable:
  case nvlinkUncorrectable:
  case contained:
  case illegalAddress:
  case launchTimeout:
  case contextIsDestroyed:
  case assertFailed:
  case hardwareStackError:
  case illegalInstruction:
  case misalignedAddress:
  case invalidAddressSpace:
  case invalidPc:
  case launchFailed:
  case externalDevice:
  case unknownError:
    return true;
  default:
    return false;
  }
}

// --- Choosing ------------------------------------------------------------

/// Whether code for `chip` ("sm_80", "sm_90a", "sm_100f") runs on a device of
/// this compute capability: without a suffix on later ones too, with 'f' on
/// later ones of the family, with 'a' on this one alone.
static bool runsOn(const char *chip, int major, int minor) {
  int number = 0;
  char suffix = 0;
  if (std::sscanf(chip, "sm_%d%c", &number, &suffix) < 1)
    return true; // Not a GPU: whatever the driver accepts.
  int wanted = number, have = 10 * major + minor;
  if (suffix == 'a')
    return have == wanted;
  return have >= wanted && (suffix != 'f' || major == wanted / 10);
}

Device::Device(const moe_device_info &program, const std::string &driverFile)
    : program(program), driver(driverFile) {}

void Device::choose() {
  int count = 0;
  Result result = driver.cuDeviceGetCount(&count);
  if (result != success || count < 1)
    fail(MOE_NO_DEVICE, "the CUDA driver finds no GPU; the program needs one "
                        "that runs code for " +
                            std::string(program.chip));
  std::vector<std::string> others;
  for (int i = 0; i < count && ordinal < 0; ++i) {
    int candidate = 0, major = 0, minor = 0;
    char text[256] = "";
    if (driver.cuDeviceGet(&candidate, i) != success)
      continue;
    driver.cuDeviceGetName(text, sizeof(text), candidate);
    driver.cuDeviceGetAttribute(&major, computeCapabilityMajor, candidate);
    driver.cuDeviceGetAttribute(&minor, computeCapabilityMinor, candidate);
    if (runsOn(program.chip, major, minor)) {
      ordinal = candidate;
      deviceName = text;
    } else {
      others.push_back(quote(text) + format(" is sm_%d%d", major, minor));
    }
  }
  if (ordinal < 0)
    fail(MOE_NO_DEVICE,
         "the program was compiled for " + std::string(program.chip) +
             ", but no GPU here runs that: " + listText(others) +
             "; compile it again for one of these");
  result = driver.cuDevicePrimaryCtxRetain(&context, ordinal);
  if (result != success)
    fail(MOE_NO_DEVICE,
         "cannot use " + quote(deviceName) + ": " + driver.text(result));
}

// --- Kernels -------------------------------------------------------------

void Device::refuseKernels(Result result, const std::string &log) {
  size_t end = log.find_first_of("\r\n");
  std::string reason = driver.text(result);
  if (!log.empty())
    reason += ": " + quote(log.substr(0, end));
  int version = 0;
  driver.cuDriverGetVersion(&version);
  std::string ofDriver =
      format("the driver (CUDA %d.%d)", version / 1000, version % 1000 / 10);
  if (result == unsupportedPtxVersion)
    fail(MOE_NO_DEVICE, ofDriver + " is too old for the program's kernels: " +
                            reason + "; install a newer one");
  if (result == invalidPtx)
    fail(MOE_INTERNAL_ERROR,
         ofDriver + " cannot compile the program's kernels: " + reason);
  if (result == invalidImage || result == noBinaryForGpu)
    fail(MOE_NO_DEVICE,
         ofDriver + " does not take the program's kernels, compiled for " +
             quote(program.chip) + ": " + reason);
  refuse(result, "load the program's kernels");
}

void Device::loadKernels() {
  char log[4096] = "";
  JitOption options[] = {jitErrorLogBuffer, jitErrorLogBufferSize};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log) - 1)};
  Result result =
      driver.cuModuleLoadDataEx(&module, program.image, 2, options, values);
  if (result != success) {
    module = nullptr;
    refuseKernels(result, log);
  }
  kernels.resize(program.num_kernels);
  for (uint32_t i = 0; i < program.num_kernels; ++i) {
    const moe_kernel_info &kernel = program.kernels[i];
    result = driver.cuModuleGetFunction(&kernels[i], module, kernel.name);
    if (result == success && kernel.shared_bytes)
      result =
          driver.cuFuncSetAttribute(kernels[i], maxDynamicSharedBytes,
                                    static_cast<int>(kernel.shared_bytes));
    if (result != success)
      refuse(result, ("load kernel " + quote(kernel.name)).c_str());
  }
}

std::unique_ptr<Device> Device::open(const moe_device_info &program,
                                     const std::string &driverFile) {
  if (program.struct_size != sizeof(moe_device_info))
    fail(MOE_INTERNAL_ERROR,
         format("the program describes its device in %u bytes, this runtime in "
                "%zu; compile it again",
                program.struct_size, sizeof(moe_device_info)));
  std::unique_ptr<Device> device(new Device(program, driverFile));
  device->choose();
  Current current(device.get());
  device->loadKernels();
  return device;
}

Device::~Device() {
  {
    Current current(this);
    free(weightsMemory);
    if (module)
      driver.cuModuleUnload(module);
  }
  if (context)
    driver.cuDevicePrimaryCtxRelease_v2(ordinal);
}

Device::Current::Current(Device *device) noexcept : device(device) {
  if (device && (!device->context ||
                 device->driver.cuCtxPushCurrent_v2(device->context) !=
                     success))
    this->device = nullptr;
}

Device::Current::~Current() {
  Context context;
  if (device)
    device->driver.cuCtxPopCurrent_v2(&context);
}

// --- Memory --------------------------------------------------------------

void Device::requireMemory(uint64_t weights, uint64_t caches,
                           uint64_t work) const {
  size_t free = 0, total = 0;
  if (weightsMemory)
    weights = 0;
  uint64_t needed = weights + caches + work;
  if (driver.cuMemGetInfo_v2(&free, &total) != success || needed <= free)
    return;
  std::string parts;
  if (weights)
    parts += bytesText(weights) + " for the weights, ";
  if (caches)
    parts += bytesText(caches) + " for the caches, ";
  parts += bytesText(work) + " of work space";
  fail(MOE_OUT_OF_MEMORY,
       "the program needs " + bytesText(needed) + " of device memory (" +
           parts + "), but " + quote(deviceName) + " has " + bytesText(free) +
           " free of " + bytesText(total) +
           (caches ? "; a smaller context needs less, and so does a program "
                     "compiled for fewer tokens at once (--max-tokens)"
                   : ""));
}

void Device::loadWeights(const void *data, uint64_t size) {
  if (weightsMemory || !size)
    return;
  void *memory = allocate(size);
  if (!memory)
    fail(MOE_OUT_OF_MEMORY,
         "no device memory for " + bytesText(size) + " of weights");
  try {
    // In pieces, so that the driver's own copies stay small.
    constexpr uint64_t piece = uint64_t(64) << 20;
    DeviceStream stream(*this);
    for (uint64_t done = 0; done < size; done += piece) {
      stream.copyIn(static_cast<char *>(memory) + done,
                    static_cast<const char *>(data) + done,
                    std::min(piece, size - done));
      stream.synchronize();
      stream.check("the copy of the weights");
    }
  } catch (...) {
    free(memory);
    throw;
  }
  weightsMemory = memory;
}

void *Device::allocate(size_t bytes) noexcept {
  DevicePointer memory = 0;
  if (driver.cuMemAlloc_v2(&memory, std::max<size_t>(bytes, 1)) != success)
    return nullptr;
  return reinterpret_cast<void *>(memory);
}

void Device::free(void *memory) noexcept {
  if (memory)
    driver.cuMemFree_v2(reinterpret_cast<DevicePointer>(memory));
}

// --- Errors --------------------------------------------------------------

static const char afterLoss[] =
    "; nothing can be done with it until the program is started again";

void Device::requireUsable() const {
  if (int result = lost)
    fail(MOE_DEVICE_LOST,
         quote(deviceName) + " failed in an earlier call: " +
             driver.text(static_cast<Result>(result)) + afterLoss);
}

void Device::refuse(Result result, const char *doing) {
  if (isLost(result)) {
    lost = result;
    // Which kernel did it is not known: the driver tells it some time later.
    fail(MOE_DEVICE_LOST, quote(deviceName) + " failed: " +
                              driver.text(result) +
                              ", noticed when asked to " + doing + afterLoss);
  }
  fail(result == outOfMemory ? MOE_OUT_OF_MEMORY : MOE_INTERNAL_ERROR,
       quote(deviceName) + " cannot " + doing + ": " + driver.text(result));
}
