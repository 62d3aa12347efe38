// What a session queues on its device: copies, launches, graphs, and the times
// of launches.
#include "Device.h"

#include "Error.h"
#include "Statistics.h"

#include <cstdio>

using namespace moe::runtime;
using namespace moe::runtime::cuda;

static DevicePointer address(const void *memory) {
  return reinterpret_cast<DevicePointer>(memory);
}

DeviceStream::DeviceStream(Device &device) : device(device) {
  // Apart from the legacy default stream, on which others may wait.
  Result result = device.driver.cuStreamCreate(&stream, streamNonBlocking);
  if (result != success)
    device.refuse(result, "begin a session");
}

DeviceStream::~DeviceStream() {
  for (Event event : events)
    device.driver.cuEventDestroy_v2(event);
  device.driver.cuStreamDestroy_v2(stream);
  device.free(ticketMemory);
}

/// Keeps the first error.
bool DeviceStream::failed(Result result, const char *doing, const char *what) {
  if (result == success)
    return false;
  if (error == success) {
    error = result;
    std::snprintf(action, sizeof(action), "%s%s", doing, what);
  }
  return true;
}

void DeviceStream::check(const char *function) {
  if (error == success)
    return;
  Result result = error;
  error = success;
  device.refuse(result,
                (std::string(action) + " in " + quote(function)).c_str());
}

void DeviceStream::beginCall() noexcept {
  error = success;
  timedKernels.clear();
  usedEvents = 0;
}

// --- Queueing ------------------------------------------------------------

void DeviceStream::copyIn(void *to, const void *from, size_t bytes) noexcept {
  if (error == success && bytes)
    failed(device.driver.cuMemcpyHtoDAsync_v2(address(to), from, bytes, stream),
           "copy to the device");
}

void DeviceStream::queueCopyOut(void *to, const void *from,
                                size_t bytes) noexcept {
  if (error == success && bytes)
    failed(device.driver.cuMemcpyDtoHAsync_v2(to, address(from), bytes, stream),
           "copy from the device");
}

void DeviceStream::copyOut(void *to, const void *from, size_t bytes) noexcept {
  queueCopyOut(to, from, bytes);
  synchronize();
}

void DeviceStream::fill(void *memory, unsigned char byte,
                        size_t bytes) noexcept {
  if (error == success && bytes)
    failed(
        device.driver.cuMemsetD8Async(address(memory), byte, bytes, stream),
        "fill memory");
}

void DeviceStream::synchronize() noexcept {
  if (error == success)
    failed(device.driver.cuStreamSynchronize(stream), "finish its work");
}

void DeviceStream::launch(uint32_t number, int64_t blocks,
                          void **parameters) noexcept {
  if (error != success || blocks == 0)
    return;
  constexpr Result invalidValue = static_cast<Result>(1);
  if (number >= device.program.num_kernels) {
    failed(invalidValue, "launch a kernel that the program does not have");
    return;
  }
  const moe_kernel_info &kernel = device.program.kernels[number];
  if (blocks < 0 || blocks > INT32_MAX) {
    failed(invalidValue, "launch so many blocks of kernel ", kernel.name);
    return;
  }
  Event begin = timed ? recordEvent() : nullptr;
  failed(device.driver.cuLaunchKernel(
             device.kernels[number], static_cast<unsigned>(blocks), 1, 1,
             kernel.threads, 1, 1, kernel.shared_bytes, stream, parameters,
             nullptr),
         "launch kernel ", kernel.name);
  if (begin && recordEvent())
    timedKernels.push_back(number);
}

/// Made by the first call that asks: not every program has such kernels.
void *DeviceStream::ticket() noexcept {
  if (ticketMemory || error != success)
    return ticketMemory;
  void *memory = device.allocate(sizeof(uint32_t));
  if (!memory)
    failed(outOfMemory, "allocate the word that blocks count in");
  else
    fill(memory, 0, sizeof(uint32_t));
  if (error == success)
    ticketMemory = memory;
  else
    device.free(memory);
  return ticketMemory;
}

void DeviceStream::encodeTensorMap(void *map, void *memory, uint32_t element,
                                   uint32_t rank, const uint64_t *sizes,
                                   const uint64_t *strides, const uint32_t *box,
                                   uint32_t swizzle) noexcept {
  if (error != success)
    return;
  constexpr uint32_t steps[] = {1, 1, 1, 1, 1}; // a tensor has five dimensions
  failed(device.driver.cuTensorMapEncodeTiled(
             map, element, rank, memory, sizes, strides, box, steps,
             /*interleave=*/0, swizzle, promote128, /*fill=*/0),
         "describe a tensor");
}

// --- Graphs --------------------------------------------------------------

DeviceGraph::~DeviceGraph() { device.driver.cuGraphExecDestroy(graph); }

void DeviceStream::launch(const DeviceGraph &graph) noexcept {
  if (error == success)
    failed(device.driver.cuGraphLaunch(graph.graph, stream), "launch a graph");
}

std::unique_ptr<DeviceGraph>
DeviceStream::capture(const char *function,
                      const std::function<void()> &queue) {
  beginCapture();
  try {
    queue();
  } catch (...) {
    endCapture();
    throw;
  }
  std::unique_ptr<DeviceGraph> graph = endCapture();
  check(function);
  return graph;
}

void DeviceStream::beginCapture() noexcept {
  // Other sessions may allocate meanwhile, this thread may not.
  if (error == success)
    failed(device.driver.cuStreamBeginCapture_v2(stream, captureThreadLocal),
           "capture launches");
}

std::unique_ptr<DeviceGraph> DeviceStream::endCapture() noexcept {
  Graph graph = nullptr;
  GraphExec made = nullptr;
  // Also after an error, so that the stream is usable again.
  failed(device.driver.cuStreamEndCapture(stream, &graph), "capture launches");
  if (error == success)
    failed(device.driver.cuGraphInstantiateWithFlags(&made, graph, 0),
           "make a graph of launches");
  if (graph)
    device.driver.cuGraphDestroy(graph);
  return made ? std::make_unique<DeviceGraph>(device, made) : nullptr;
}

// --- Memory of the host --------------------------------------------------

void *DeviceStream::allocateHost(size_t bytes) {
  void *memory = nullptr;
  Result result = device.driver.cuMemHostAlloc(&memory, bytes, 0);
  if (result != success)
    device.refuse(result, "give memory of the host");
  return memory;
}

void DeviceStream::freeHost(void *memory) noexcept {
  if (memory)
    device.driver.cuMemFreeHost(memory);
}

// --- Times ---------------------------------------------------------------

Event DeviceStream::recordEvent() {
  if (usedEvents == events.size()) {
    Event event = nullptr;
    if (failed(device.driver.cuEventCreate(&event, 0), "time kernels"))
      return nullptr;
    events.push_back(event);
  }
  Event event = events[usedEvents++];
  bool bad = failed(device.driver.cuEventRecord(event, stream), "time kernels");
  return bad ? nullptr : event;
}

size_t DeviceStream::takeTime() noexcept {
  recordEvent();
  return usedEvents - 1;
}

float DeviceStream::between(size_t first, size_t second) noexcept {
  float milliseconds = 0;
  synchronize();
  if (error == success)
    failed(device.driver.cuEventElapsedTime(&milliseconds, events[first],
                                            events[second]),
           "read a time");
  return milliseconds;
}

void DeviceStream::collect(Profile &profile) noexcept {
  synchronize();
  for (size_t i = 0; error == success && i < timedKernels.size(); ++i) {
    float milliseconds = 0;
    failed(device.driver.cuEventElapsedTime(&milliseconds, events[2 * i],
                                            events[2 * i + 1]),
           "time kernels");
    profile.add(device.program.kernels[timedKernels[i]].name,
                static_cast<uint64_t>(milliseconds * 1e6));
  }
  timedKernels.clear();
  usedEvents = 0;
}
