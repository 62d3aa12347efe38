//===- MoERecipes.cpp - Program tensors from checkpoint tensors -----------===//
//
// Types, checks and execution of recipe attributes.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace mlir::moe;

using EmitError = llvm::function_ref<InFlightDiagnostic()>;
using Sink = llvm::function_ref<llvm::Error(llvm::ArrayRef<char>)>;

static RankedTensorType withFirst(RankedTensorType type, int64_t first) {
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = first;
  return RankedTensorType::get(shape, type.getElementType());
}

RankedTensorType SourceAttr::getTensorType() const { return getType(); }

RankedTensorType StackAttr::getTensorType() const {
  RankedTensorType part = getParts().front().getTensorType();
  SmallVector<int64_t> shape = {int64_t(getParts().size())};
  llvm::append_range(shape, part.getShape());
  return RankedTensorType::get(shape, part.getElementType());
}

RankedTensorType ConcatAttr::getTensorType() const {
  int64_t first = 0;
  for (RecipeAttrInterface part : getParts())
    first += part.getTensorType().getDimSize(0);
  return withFirst(getParts().front().getTensorType(), first);
}

RankedTensorType SliceAttr::getTensorType() const { return withFirst(getPart().getTensorType(), getSize()); }

RankedTensorType TransposeAttr::getTensorType() const {
  RankedTensorType part = getPart().getTensorType();
  SmallVector<int64_t> shape;
  for (int64_t dim : getPermutation())
    shape.push_back(part.getDimSize(dim));
  return RankedTensorType::get(shape, part.getElementType());
}

RankedTensorType ReshapeAttr::getTensorType() const { return getType(); }

RankedTensorType PanelsAttr::getTensorType() const {
  RankedTensorType part = getPart().getTensorType();
  SmallVector<int64_t> shape(part.getShape().drop_back(2));
  int64_t n = part.getDimSize(part.getRank() - 2), k = part.getDimSize(part.getRank() - 1);
  shape.append({int64_t(llvm::divideCeil(n, getWidth())), k, getWidth()});
  return RankedTensorType::get(shape, part.getElementType());
}

LogicalResult StackAttr::verify(EmitError emitError, ArrayRef<RecipeAttrInterface> parts) {
  if (parts.empty())
    return emitError() << "expected at least one part";
  for (RecipeAttrInterface part : parts)
    if (part.getTensorType() != parts.front().getTensorType())
      return emitError() << "expected parts of one type, got " << parts.front().getTensorType() << " and "
                         << part.getTensorType();
  return success();
}

LogicalResult ConcatAttr::verify(EmitError emitError, ArrayRef<RecipeAttrInterface> parts) {
  if (parts.empty())
    return emitError() << "expected at least one part";
  for (RecipeAttrInterface part : parts) {
    RankedTensorType type = part.getTensorType(), first = parts.front().getTensorType();
    if (type.getRank() < 1 || first.getRank() < 1 || type.getElementType() != first.getElementType() ||
        type.getShape().drop_front() != first.getShape().drop_front())
      return emitError() << "expected parts that differ in the first extent only, got " << first << " and " << type;
  }
  return success();
}

LogicalResult SliceAttr::verify(EmitError emitError, RecipeAttrInterface part, int64_t offset, int64_t size) {
  RankedTensorType type = part.getTensorType();
  if (type.getRank() < 1 || offset < 0 || size < 1 || offset > type.getDimSize(0) ||
      size > type.getDimSize(0) - offset)
    return emitError() << "expected a slice within " << type << ", got offset " << offset << " and size " << size;
  return success();
}

LogicalResult TransposeAttr::verify(EmitError emitError, RecipeAttrInterface part, ArrayRef<int64_t> permutation) {
  if (int64_t(permutation.size()) != part.getTensorType().getRank() || !isPermutationVector(permutation))
    return emitError() << "expected a permutation of the " << part.getTensorType().getRank() << " dimensions";
  return success();
}

LogicalResult ReshapeAttr::verify(EmitError emitError, RecipeAttrInterface part, RankedTensorType type) {
  RankedTensorType from = part.getTensorType();
  if (!type.hasStaticShape() || from.getElementType() != type.getElementType() ||
      from.getNumElements() != type.getNumElements())
    return emitError() << "expected a shape with the elements of " << from << ", got " << type;
  return success();
}

LogicalResult PanelsAttr::verify(EmitError emitError, RecipeAttrInterface part, int64_t width) {
  if (part.getTensorType().getRank() < 2 || width < 1)
    return emitError() << "expected a part of rank 2 or more and a positive width";
  return success();
}

LogicalResult BankRecipeAttr::verify(EmitError emitError, ArrayRef<RecipeAttrInterface> components) {
  if (components.empty())
    return emitError() << "expected at least one component";
  return success();
}

static llvm::Error notYet() { return llvm::createStringError("recipe execution is not linked in"); }
llvm::Error SourceAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error StackAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error ConcatAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error SliceAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error TransposeAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error ReshapeAttr::write(TensorReader &, Sink) const { return notYet(); }
llvm::Error PanelsAttr::write(TensorReader &, Sink) const { return notYet(); }
