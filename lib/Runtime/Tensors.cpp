// The table of element types and arithmetic on shapes that cannot overflow.
#include "Tensors.h"

#include "Error.h"

using namespace moe::runtime;

static const ElementType table[] = {
    {MOE_F32, "f32", "F32", "<f4", 4},
    {MOE_F16, "f16", "F16", "<f2", 2},
    {MOE_BF16, "bf16", "BF16", nullptr, 2},
    {MOE_I32, "i32", "I32", "<i4", 4},
    {MOE_I64, "i64", "I64", "<i8", 8},
    {MOE_I8, "i8", "I8", "|i1", 1},
    {MOE_U8, "u8", "U8", "|u1", 1},
    {MOE_BOOL, "bool", "BOOL", "|b1", 1},
    {MOE_F64, "f64", "F64", "<f8", 8},
};

const ElementType *moe::runtime::elementType(uint32_t id) {
  for (const ElementType &type : table)
    if (type.id == id)
      return &type;
  return nullptr;
}

const ElementType *
moe::runtime::elementTypeOfSafetensors(const std::string &name) {
  for (const ElementType &type : table)
    if (name == type.safetensors)
      return &type;
  return nullptr;
}

const ElementType *moe::runtime::elementTypeOfNpy(const std::string &descr) {
  for (const ElementType &type : table)
    if (type.npy && descr == type.npy)
      return &type;
  return nullptr;
}

const char *moe::runtime::elementTypeName(uint32_t id) {
  const ElementType *type = elementType(id);
  return type ? type->name : "unknown";
}

bool moe::runtime::multiply(int64_t &product, int64_t factor) {
  return factor >= 0 && !__builtin_mul_overflow(product, factor, &product);
}

int64_t moe::runtime::countElements(const int64_t *shape, size_t rank) {
  int64_t product = 1;
  bool empty = false;
  for (size_t i = 0; i < rank; ++i) {
    if (shape[i] < 0)
      return -1;
    empty |= shape[i] == 0;
  }
  if (empty)
    return 0;
  for (size_t i = 0; i < rank; ++i)
    if (!multiply(product, shape[i]))
      return -1;
  return product;
}

int64_t moe::runtime::countBytes(uint32_t elementTypeId, const int64_t *shape,
                                 size_t rank) {
  const ElementType *type = elementType(elementTypeId);
  int64_t bytes = countElements(shape, rank);
  if (!type || bytes < 0 || !multiply(bytes, static_cast<int64_t>(type->size)))
    return -1;
  return bytes;
}

Buffer moe::runtime::allocate(size_t bytes) {
  constexpr size_t alignment = 64;
  if (bytes > SIZE_MAX / 2)
    fail(MOE_OUT_OF_MEMORY, "out of memory: " + bytesText(bytes) + " asked");
  size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void *memory = std::aligned_alloc(alignment, rounded ? rounded : alignment);
  if (!memory)
    fail(MOE_OUT_OF_MEMORY, "out of memory: " + bytesText(bytes) + " asked");
  return Buffer(memory);
}

void moe::runtime::checkBools(const moe_tensor &tensor,
                              const std::string &what) {
  if (tensor.element_type != MOE_BOOL)
    return;
  int64_t count = countElements(tensor.shape, tensor.rank);
  const unsigned char *bytes = static_cast<const unsigned char *>(tensor.data);
  for (int64_t i = 0; i < count; ++i)
    if (bytes[i] > 1)
      fail(MOE_INVALID_ARGUMENT,
           format("%s: element %lld of a bool tensor is %d, expected 0 or 1",
                  what.c_str(), static_cast<long long>(i), bytes[i]));
}
