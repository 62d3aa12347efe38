// Element types, checked sizes, and tensors that own their memory.
#ifndef MOE_LIB_RUNTIME_TENSORS_H
#define MOE_LIB_RUNTIME_TENSORS_H

#include "moe/Runtime/Runtime.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace moe::runtime {

/// One row of the table of element types. Every name is what files and people
/// use for the type.
struct ElementType {
  moe_element_type id;
  const char *name;        ///< "f32", in messages and --help
  const char *safetensors; ///< "F32"
  const char *npy;         ///< "<f4"; null: .npy has no such type
  size_t size;             ///< bytes
};

/// The type with this id, null if the number means none.
const ElementType *elementType(uint32_t id);
const ElementType *elementTypeOfSafetensors(const std::string &name);
const ElementType *elementTypeOfNpy(const std::string &descr);
/// Name of a type for messages, whatever the number.
const char *elementTypeName(uint32_t id);

/// Multiplies `product` by `factor`; false if that overflows int64_t or a
/// factor is negative.
bool multiply(int64_t &product, int64_t factor);

/// Number of elements of a shape, -1 if it overflows or an extent is negative.
int64_t countElements(const int64_t *shape, size_t rank);

/// Bytes of a tensor, -1 if they overflow.
int64_t countBytes(uint32_t elementTypeId, const int64_t *shape, size_t rank);

struct FreeDeleter {
  void operator()(void *pointer) const { std::free(pointer); }
};
using Buffer = std::unique_ptr<void, FreeDeleter>;

/// Memory aligned to 64 bytes, not initialised; throws Error if there is none.
Buffer allocate(size_t bytes);

/// A named tensor read from a file or about to be written to one.
struct Tensor {
  std::string name;
  moe_tensor view{}; ///< its data points into `memory`, or elsewhere
  Buffer memory;
};

/// Throws Error unless a bool tensor holds zeros and ones only: compiled code
/// relies on it. `what` names the tensor.
void checkBools(const moe_tensor &tensor, const std::string &what);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_TENSORS_H
