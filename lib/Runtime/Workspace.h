// The memory generated code allocates from: a stack of chunks that are kept,
// so that a session in steady state asks the system for nothing.
#ifndef MOE_LIB_RUNTIME_WORKSPACE_H
#define MOE_LIB_RUNTIME_WORKSPACE_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moe::runtime {

/// A bump allocator. Memory is freed by going back to a mark.
class Workspace {
public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace &) = delete;
  Workspace &operator=(const Workspace &) = delete;

  /// `bytes` of memory; null if the system gives none. `alignment` is a power
  /// of two of at most a page.
  void *allocate(size_t bytes, size_t alignment);

  /// Where the stack stands: the chunk in the upper bits, the offset in it in
  /// the lower ones.
  int64_t mark() const;

  /// Frees what was allocated since `mark`. The memory stays readable until it
  /// is allocated again.
  void release(int64_t mark);

  /// Bytes taken from the system.
  uint64_t reserved() const;

private:
  struct Chunk {
    char *memory;
    size_t size;
  };
  std::vector<Chunk> chunks; ///< capacity reserved up front: never reallocates
  size_t current = 0;
  size_t used = 0;
};

/// Anonymous zero pages, committed when touched; null if the system refuses.
void *mapPages(size_t bytes);
void unmapPages(void *memory, size_t bytes);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_WORKSPACE_H
