// A device that runs kernels: its memory, what is queued on it, and how its
// errors are told. Programs for the CPU have none, and pay nothing for it.
#ifndef MOE_LIB_RUNTIME_DEVICE_H
#define MOE_LIB_RUNTIME_DEVICE_H

#include "CudaDriver.h"
#include "moe/Runtime/Runtime.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace moe::runtime {

class Profile;

/// The device of one model: its kernels and the weights, shared by sessions.
class Device {
public:
  /// Loads the driver, chooses the first device that `program` was compiled
  /// for, and loads the kernels there. Throws Error.
  static std::unique_ptr<Device> open(const moe_device_info &program,
                                      const std::string &driverFile);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  /// Makes a device the current one of this thread, as long as it lives; null:
  /// does nothing. All else needs that, destructors included.
  class Current {
  public:
    explicit Current(Device *device) noexcept;
    ~Current();
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

  private:
    Device *device;
  };

  /// Throws unless weights that are not yet there, `caches` bytes, and `work`
  /// bytes of work space fit.
  void requireMemory(uint64_t weights, uint64_t caches, uint64_t work) const;

  /// Copies the weights to the device, unless that was done before.
  void loadWeights(const void *data, uint64_t size);

  /// Memory aligned to 256 bytes; null if there is none.
  void *allocate(size_t bytes) noexcept;
  void free(void *memory) noexcept;

  /// Throws if the device failed some time ago.
  void requireUsable() const;

  /// Throws what `result` means: the driver refused to do something ("copy to
  /// the device"), or the device failed.
  [[noreturn]] void refuse(cuda::Result result, const char *doing);

  const std::string &name() const { return deviceName; }
  void *weights() const { return weightsMemory; }

  const moe_device_info &program;
  const cuda::Driver driver;
  std::vector<cuda::Function> kernels; ///< in the order of the program

private:
  Device(const moe_device_info &program, const std::string &driverFile);
  void choose();
  void loadKernels();
  [[noreturn]] void refuseKernels(cuda::Result result, const std::string &log);

  int ordinal = -1;
  std::string deviceName;
  cuda::Context context = nullptr;
  cuda::Module module = nullptr;
  void *weightsMemory = nullptr;
  std::atomic<int> lost{0}; ///< the error after which nothing works any more
};

/// A captured sequence of launches that is replayed as one.
class DeviceGraph {
public:
  DeviceGraph(Device &device, cuda::GraphExec graph)
      : device(device), graph(graph) {}
  ~DeviceGraph();
  DeviceGraph(const DeviceGraph &) = delete;
  DeviceGraph &operator=(const DeviceGraph &) = delete;

private:
  friend class DeviceStream;
  Device &device;
  cuda::GraphExec graph;
};

/// What one session does on the device, in order. Nothing but check() throws,
/// since generated code may stand between: the first error is kept, and nothing
/// is done after it.
class DeviceStream {
public:
  explicit DeviceStream(Device &device); ///< throws
  ~DeviceStream();
  DeviceStream(const DeviceStream &) = delete;
  DeviceStream &operator=(const DeviceStream &) = delete;

  /// Forgets what a failed call left behind.
  void beginCall() noexcept;

  /// The host's memory may change as soon as this returns, unless it came from
  /// allocateHost.
  void copyIn(void *to, const void *from, size_t bytes) noexcept;
  /// Queues a copy to memory of allocateHost.
  void queueCopyOut(void *to, const void *from, size_t bytes) noexcept;
  /// Copies to any memory, and waits for it.
  void copyOut(void *to, const void *from, size_t bytes) noexcept;
  void fill(void *memory, unsigned char byte, size_t bytes) noexcept;
  void launch(uint32_t kernel, int64_t blocks, void **parameters) noexcept;
  void launch(const DeviceGraph &graph) noexcept;
  /// moe_gpu_ticket of Program.h; null after an error.
  void *ticket() noexcept;
  /// moe_gpu_tensor_map of Program.h.
  void encodeTensorMap(void *map, void *memory, uint32_t element, uint32_t rank,
                       const uint64_t *sizes, const uint64_t *strides,
                       const uint32_t *box, uint32_t swizzle) noexcept;
  void synchronize() noexcept;

  /// Throws the first error since the last check; `function` is what ran.
  void check(const char *function);

  /// Records what `queue` queues instead of running it. Throws what it throws,
  /// and an error of the device in the name of `function`.
  std::unique_ptr<DeviceGraph> capture(const char *function,
                                       const std::function<void()> &queue);

  /// Memory of the host that the device copies to and from by itself.
  void *allocateHost(size_t bytes); ///< throws
  void freeHost(void *memory) noexcept;

  /// Takes the time when all that was queued before is done; gives its number
  /// among the times of this call.
  size_t takeTime() noexcept;
  /// Milliseconds between two of them; waits for all that is queued.
  float between(size_t first, size_t second) noexcept;

  /// From now on launches are timed; collect adds their times to a profile.
  void timeLaunches() { timed = true; }
  void collect(Profile &profile) noexcept;

private:
  bool failed(cuda::Result result, const char *doing, const char *what = "");
  cuda::Event recordEvent();
  void beginCapture() noexcept;
  std::unique_ptr<DeviceGraph> endCapture() noexcept; ///< null after an error

  Device &device;
  cuda::Stream stream = nullptr;
  cuda::Result error = cuda::success;
  char action[160] = ""; ///< what failed
  void *ticketMemory = nullptr;
  bool timed = false;
  std::vector<cuda::Event> events; ///< two for each timed launch, kept
  size_t usedEvents = 0;
  std::vector<uint32_t> timedKernels;
};

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_DEVICE_H
