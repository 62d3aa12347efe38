//===- MoERecipes.cpp - Program tensors from checkpoint tensors -----------===//
//
// Types and checks of recipe attributes. Sizes that no file can hold are
// refused here, so that execution (MoERecipeExecution.cpp) computes freely.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "llvm/Support/MathExtras.h"

#include <optional>

using namespace mlir;
using namespace mlir::moe;
using llvm::Twine;

namespace {

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

/// Bytes of one element as checkpoints store it; none for types that
/// checkpoints cannot hold.
std::optional<int64_t> getElementBytes(Type type) {
  if (!type.isIntOrFloat())
    return std::nullopt;
  unsigned bits = type.getIntOrFloatBitWidth();
  if (bits == 1)
    return 1;
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
    return std::nullopt;
  return bits / 8;
}

/// Refuses tensors that no file can hold, so that sizes computed later never
/// overflow.
LogicalResult verifyTensorType(EmitError emitError, RankedTensorType type) {
  if (!type.hasStaticShape())
    return emitError() << "expected a recipe of static shape, got " << type;
  if (type.getEncoding())
    return emitError() << "expected a recipe without encoding, got " << type;
  std::optional<int64_t> bytes = getElementBytes(type.getElementType());
  if (!bytes)
    return emitError() << "expected elements of 1, 8, 16, 32 or 64 bits, got "
                       << type.getElementType();
  int64_t total = *bytes;
  for (int64_t extent : type.getShape())
    if (llvm::MulOverflow(total, std::max<int64_t>(extent, 1), total))
      return emitError() << "expected a tensor of less than 2^63 bytes, got "
                         << type;
  return success();
}

LogicalResult verifyParts(EmitError emitError,
                          ArrayRef<RecipeAttrInterface> parts) {
  if (parts.empty())
    return emitError() << "expected at least one part";
  return success();
}

RankedTensorType withShape(RankedTensorType type, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, type.getElementType());
}

} // namespace

//===----------------------------------------------------------------------===//
// Source
//===----------------------------------------------------------------------===//

LogicalResult SourceAttr::verify(EmitError emitError, StringRef name,
                                 RankedTensorType type) {
  if (name.empty())
    return emitError() << "expected the name of a tensor, got ''";
  return verifyTensorType(emitError, type);
}

RankedTensorType SourceAttr::getTensorType() const { return getType(); }

//===----------------------------------------------------------------------===//
// Stack and concatenation
//===----------------------------------------------------------------------===//

LogicalResult StackAttr::verify(EmitError emitError,
                                ArrayRef<RecipeAttrInterface> parts) {
  if (failed(verifyParts(emitError, parts)))
    return failure();
  RankedTensorType first = parts.front().getTensorType();
  for (auto [index, part] : llvm::enumerate(parts))
    if (part.getTensorType() != first)
      return emitError() << "expected parts of one type to stack, got " << first
                         << " and, as part " << index << ", "
                         << part.getTensorType();
  SmallVector<int64_t> shape{static_cast<int64_t>(parts.size())};
  llvm::append_range(shape, first.getShape());
  return verifyTensorType(emitError, withShape(first, shape));
}

RankedTensorType StackAttr::getTensorType() const {
  RankedTensorType first = getParts().front().getTensorType();
  SmallVector<int64_t> shape{static_cast<int64_t>(getParts().size())};
  llvm::append_range(shape, first.getShape());
  return withShape(first, shape);
}

LogicalResult ConcatAttr::verify(EmitError emitError,
                                 ArrayRef<RecipeAttrInterface> parts) {
  if (failed(verifyParts(emitError, parts)))
    return failure();
  RankedTensorType first = parts.front().getTensorType();
  int64_t extent = 0;
  for (auto [index, part] : llvm::enumerate(parts)) {
    RankedTensorType type = part.getTensorType();
    if (type.getRank() == 0)
      return emitError() << "expected parts of rank 1 or more to join, got "
                         << type;
    if (type.getElementType() != first.getElementType() ||
        type.getShape().drop_front() != first.getShape().drop_front())
      return emitError()
             << "expected parts that differ in the first extent only, got "
             << first << " and, as part " << index << ", " << type;
    if (llvm::AddOverflow(extent, type.getDimSize(0), extent))
      return emitError() << "expected a first extent below 2^63";
  }
  SmallVector<int64_t> shape(first.getShape());
  shape.front() = extent;
  return verifyTensorType(emitError, withShape(first, shape));
}

RankedTensorType ConcatAttr::getTensorType() const {
  RankedTensorType first = getParts().front().getTensorType();
  SmallVector<int64_t> shape(first.getShape());
  shape.front() = 0;
  for (RecipeAttrInterface part : getParts())
    shape.front() += part.getTensorType().getDimSize(0);
  return withShape(first, shape);
}

//===----------------------------------------------------------------------===//
// Slice, transposition, reshape
//===----------------------------------------------------------------------===//

LogicalResult SliceAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                int64_t offset, int64_t size, int64_t dim,
                                int64_t stride) {
  RankedTensorType type = part.getTensorType();
  if (dim < 0 || dim >= type.getRank())
    return emitError() << "expected a part with dimension " << dim
                       << " to slice, got " << type;
  int64_t extent = type.getDimSize(dim);
  // The last entry taken must exist; no product of two hostile numbers.
  bool inside = offset >= 0 && size >= 0 && stride >= 1 && offset <= extent &&
                (size == 0 || (offset < extent &&
                               size - 1 <= (extent - 1 - offset) / stride));
  if (!inside)
    return emitError() << "expected a slice within [0, " << extent
                       << "), got offset " << offset << " and size " << size
                       << (stride == 1 ? "" : ", stride " + Twine(stride));
  return success();
}

RankedTensorType SliceAttr::getTensorType() const {
  RankedTensorType type = getPart().getTensorType();
  SmallVector<int64_t> shape(type.getShape());
  shape[getDim()] = getSize();
  return withShape(type, shape);
}

LogicalResult TransposeAttr::verify(EmitError emitError,
                                    RecipeAttrInterface part,
                                    ArrayRef<int64_t> permutation) {
  int64_t rank = part.getTensorType().getRank();
  SmallVector<bool> seen(rank, false);
  bool valid = static_cast<int64_t>(permutation.size()) == rank;
  for (int64_t dimension : permutation) {
    valid = valid && dimension >= 0 && dimension < rank && !seen[dimension];
    if (valid)
      seen[dimension] = true;
  }
  if (!valid)
    return emitError() << "expected a permutation of the " << rank
                       << " dimensions of the part";
  return success();
}

RankedTensorType TransposeAttr::getTensorType() const {
  RankedTensorType type = getPart().getTensorType();
  SmallVector<int64_t> shape;
  for (int64_t dimension : getPermutation())
    shape.push_back(type.getDimSize(dimension));
  return withShape(type, shape);
}

LogicalResult ReshapeAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                  RankedTensorType type) {
  RankedTensorType from = part.getTensorType();
  if (failed(verifyTensorType(emitError, type)))
    return failure();
  if (from.getElementType() != type.getElementType() ||
      from.getNumElements() != type.getNumElements())
    return emitError() << "expected as many elements of the same type, got "
                       << from << " reshaped to " << type;
  return success();
}

RankedTensorType ReshapeAttr::getTensorType() const { return getType(); }

//===----------------------------------------------------------------------===//
// Panels
//===----------------------------------------------------------------------===//

namespace {
RankedTensorType getPanelsType(RankedTensorType type, int64_t width) {
  SmallVector<int64_t> shape(type.getShape());
  int64_t depth = shape.pop_back_val(), outputs = shape.pop_back_val();
  shape.append(
      {static_cast<int64_t>(llvm::divideCeil(static_cast<uint64_t>(outputs),
                                             static_cast<uint64_t>(width))),
       depth, width});
  return withShape(type, shape);
}
} // namespace

LogicalResult PanelsAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                 int64_t width) {
  RankedTensorType type = part.getTensorType();
  if (type.getRank() < 2)
    return emitError() << "expected a part [..., N, K] to pack, got " << type;
  if (width < 1 || width > 4096)
    return emitError() << "expected a panel width from 1 to 4096, got "
                       << width;
  return verifyTensorType(emitError, getPanelsType(type, width));
}

RankedTensorType PanelsAttr::getTensorType() const {
  return getPanelsType(getPart().getTensorType(), getWidth());
}

//===----------------------------------------------------------------------===//
// Padding
//===----------------------------------------------------------------------===//

namespace {
RankedTensorType getPaddedType(RankedTensorType type, int64_t size) {
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = size;
  return withShape(type, shape);
}
} // namespace

LogicalResult PadAttr::verify(EmitError emitError, RecipeAttrInterface part,
                              int64_t size) {
  RankedTensorType type = part.getTensorType();
  if (type.getRank() < 1 || type.getShape().back() < 1)
    return emitError() << "expected a part with rows to pad, got " << type;
  if (size < type.getShape().back())
    return emitError() << "expected a padded size of at least "
                       << type.getShape().back() << ", got " << size;
  return verifyTensorType(emitError, getPaddedType(type, size));
}

RankedTensorType PadAttr::getTensorType() const {
  return getPaddedType(getPart().getTensorType(), getSize());
}

//===----------------------------------------------------------------------===//
// Bank recipe
//===----------------------------------------------------------------------===//

LogicalResult BankRecipeAttr::verify(EmitError emitError,
                                     ArrayRef<RecipeAttrInterface> components) {
  if (components.empty())
    return emitError() << "expected at least one component";
  for (auto [index, component] : llvm::enumerate(components)) {
    RankedTensorType type = component.getTensorType(),
                     first = components.front().getTensorType();
    if (type.getRank() == 0)
      return emitError()
             << "expected components whose first extent is the expert, got "
             << type;
    if (type.getDimSize(0) != first.getDimSize(0))
      return emitError() << "expected " << first.getDimSize(0)
                         << " experts in each component, got "
                         << type.getDimSize(0) << " in component " << index;
  }
  return success();
}
