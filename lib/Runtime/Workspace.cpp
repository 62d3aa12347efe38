// The work space of a session: chunks from mmap, a stack discipline on top.
// Nothing here throws, since generated code stands between it and its caller.
#include "Workspace.h"

#include "Device.h"

#include <algorithm>
#include <sys/mman.h>

using namespace moe::runtime;

static constexpr size_t hugePage = size_t(2) << 20;
static constexpr int offsetBits = 48;
/// Chunks double, so that this many are more than an address space holds.
static constexpr size_t maxChunks = 64;

void *moe::runtime::mapPages(size_t bytes) {
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void moe::runtime::unmapPages(void *memory, size_t bytes) {
  if (memory)
    munmap(memory, bytes);
}

void moe::runtime::freeMemory(Device *device, void *memory, size_t bytes) {
  if (device)
    device->free(memory);
  else
    unmapPages(memory, bytes);
}

Workspace::Workspace() { chunks.reserve(maxChunks); }

Workspace::~Workspace() {
  for (const Chunk &chunk : chunks)
    freeMemory(device, chunk.memory, chunk.size);
}

static size_t roundUp(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) & ~(alignment - 1);
}

void *Workspace::allocate(size_t bytes, size_t alignment) {
  if (bytes >= (size_t(1) << offsetBits) - hugePage)
    return nullptr;
  bytes = std::max<size_t>(bytes, 1);
  if (measuring)
    return measure(bytes, alignment);
  for (; current < chunks.size(); ++current, used = 0) {
    size_t start = roundUp(used, alignment);
    if (start <= chunks[current].size &&
        bytes <= chunks[current].size - start) {
      used = start + bytes;
      return chunks[current].memory + start;
    }
  }
  if (!grow(bytes))
    return nullptr;
  used = bytes;
  return chunks.back().memory;
}

/// Unlike caches, this memory is about to be used: let the system refuse what
/// it can never give.
static void *commitPages(size_t size) {
  void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  madvise(memory, size, MADV_HUGEPAGE);
  return memory;
}

bool Workspace::grow(size_t bytes) {
  if (chunks.size() == maxChunks)
    return false;
  size_t least = chunks.empty() ? sizeOfFirst() : reserved();
  size_t size = roundUp(std::max(least, bytes), hugePage);
  void *memory = device ? device->allocate(size) : commitPages(size);
  // The memory of a device is what it is: what is left may still be enough.
  if (!memory && device) {
    size = roundUp(bytes, hugePage);
    memory = device->allocate(size);
  }
  if (!memory)
    return false;
  chunks.push_back({static_cast<char *>(memory), size});
  return true;
}

/// As one chunk would serve it, at addresses that nothing reads or writes.
void *Workspace::measure(size_t bytes, size_t alignment) {
  size_t start = roundUp(used, alignment);
  if (bytes >= (size_t(1) << offsetBits) - hugePage - start)
    return nullptr;
  used = start + bytes;
  most = std::max(most, used);
  return reinterpret_cast<char *>(hugePage) + start;
}

uint64_t Workspace::endMeasuring() {
  release(0);
  measuring = false;
  return sizeOfFirst();
}

size_t Workspace::sizeOfFirst() const {
  return roundUp(std::max(firstChunk, most), hugePage);
}

int64_t Workspace::mark() const {
  return static_cast<int64_t>(current) << offsetBits |
         static_cast<int64_t>(used);
}

void Workspace::release(int64_t mark) {
  current = static_cast<size_t>(mark >> offsetBits);
  used = static_cast<size_t>(mark & ((int64_t(1) << offsetBits) - 1));
}

uint64_t Workspace::reserved() const {
  uint64_t total = 0;
  for (const Chunk &chunk : chunks)
    total += chunk.size;
  return total;
}
