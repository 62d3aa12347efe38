//===- BankRows.cpp - Rows of banks at multiples of 16 bytes --------------===//
//
// The type and the recipe of a padded bank.
//
//===----------------------------------------------------------------------===//

#include "BankRows.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

bool hopper::needsPadding(Type type) {
  auto bank = dyn_cast<BankType>(type);
  if (!bank || bank.getComponents().size() != 1)
    return false;
  RankedTensorType data = bank.getData();
  return data.getRank() == 3 && data.getElementType().isBF16() && data.getDimSize(2) > 0 &&
         data.getDimSize(2) != getRowPitch(data.getDimSize(2));
}

static Type getPaddedType(Type type) {
  RankedTensorType data = cast<BankType>(type).getData();
  SmallVector<int64_t> shape(data.getShape());
  shape.back() = getRowPitch(shape.back());
  return BankType::get(type.getContext(), RankedTensorType::get(shape, data.getElementType()));
}

static Attribute getPaddedRecipe(Attribute recipe) {
  MLIRContext *context = recipe.getContext();
  RecipeAttrInterface plain = cast<BankRecipeAttr>(recipe).getComponents().front();
  RecipeAttrInterface padded = PadAttr::get(context, plain, getRowPitch(plain.getTensorType().getShape().back()));
  return BankRecipeAttr::get(context, padded);
}

WeightFlow::Change hopper::getPadding() { return {needsPadding, getPaddedType, getPaddedRecipe, "_padded"}; }
