// The memory generated code allocates from: a stack of chunks that are kept,
// so that a session in steady state asks the system for nothing, and equal
// calls get equal addresses.
#ifndef MOE_LIB_RUNTIME_WORKSPACE_H
#define MOE_LIB_RUNTIME_WORKSPACE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::runtime {

class Device;

/// A bump allocator. Memory is freed by going back to a mark.
class Workspace {
public:
  /// Bytes of the first chunk, unless more is asked for at once.
  static constexpr size_t firstChunk = size_t(8) << 20;

  Workspace();
  ~Workspace();
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;

  /// `bytes` of memory; null if the system gives none. `alignment` is a power
  /// of two of at most a page.
  void *allocate(size_t bytes, size_t alignment);

  /// Takes chunks from here from now on; only before the first allocation.
  void useDevice(Device *from) { device = from; }

  /// Until `endMeasuring`, hands out memory that is not there, to count it; only
  /// before the first allocation.
  void beginMeasuring() { measuring = true; }

  /// Bytes of the first chunk, which from now on has room for all that was in
  /// use at once.
  uint64_t endMeasuring();

  bool isMeasuring() const { return measuring; }

  /// Where the stack stands: the chunk in the upper bits, the offset in it in
  /// the lower ones.
  int64_t mark() const;

  /// Frees what was allocated since `mark`. The memory stays readable until it
  /// is allocated again.
  void release(int64_t mark);

  /// Bytes taken from the system.
  uint64_t reserved() const;

private:
  size_t sizeOfFirst() const;

  /// Appends a chunk of at least `bytes`; false if there is no memory.
  bool grow(size_t bytes);
  void *measure(size_t bytes, size_t alignment);

  struct Chunk {
    char *memory;
    size_t size;
  };
  std::vector<Chunk> chunks; ///< capacity reserved up front: never reallocates
  size_t current = 0;
  size_t used = 0;
  bool measuring = false;
  size_t most = 0; ///< measured
  Device *device = nullptr; ///< null: pages of the system
};

/// Anonymous zero pages, committed when touched; null if the system refuses.
void *mapPages(size_t bytes);
void unmapPages(void *memory, size_t bytes);

/// Gives back pages of the system, or, with a device, its memory.
void freeMemory(Device *device, void *memory, size_t bytes);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_WORKSPACE_H
