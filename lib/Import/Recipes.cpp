//===- Recipes.cpp - Weights as parts of a checkpoint's tensors -----------===//
//
// Each function wraps one recipe attribute, with the element type of its part.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "moe/Import/Text.h"

using namespace mlir;
using namespace mlir::moe;

Recipe mlir::moe::tensorNamed(std::vector<std::string> names, Extents shape) {
  return [=](Model &model) -> RecipeAttrInterface {
    for (const std::string &name : names)
      if (model.hasTensor(name))
        return model.getSource(name, shape);
    return model.getSource(names.front(), shape);
  };
}

Recipe mlir::moe::sliceOf(Recipe part, int64_t dim, int64_t offset,
                          int64_t size, int64_t stride) {
  return [=](Model &model) -> RecipeAttrInterface {
    return SliceAttr::get(model.getContext(), part(model), offset, size, dim,
                          stride);
  };
}

Recipe mlir::moe::transposeOf(Recipe part, Extents permutation) {
  return [=](Model &model) -> RecipeAttrInterface {
    return TransposeAttr::get(model.getContext(), part(model), permutation);
  };
}

Recipe mlir::moe::reshapeOf(Recipe part, Extents shape) {
  return [=](Model &model) -> RecipeAttrInterface {
    RecipeAttrInterface made = part(model);
    return ReshapeAttr::get(
        model.getContext(), made,
        RankedTensorType::get(shape, made.getTensorType().getElementType()));
  };
}

Recipe mlir::moe::stackOf(std::vector<std::string> names, Extents shape) {
  return [=](Model &model) -> RecipeAttrInterface {
    SmallVector<RecipeAttrInterface> parts;
    for (const std::string &name : names) {
      RecipeAttrInterface part = model.getSource(name, shape);
      if (parts.empty() ||
          part.getTensorType() == parts.front().getTensorType())
        parts.push_back(part);
      else
        model.fail("tensor " + quoted(name) +
                   ": expected the storage type of " + quoted(names.front()) +
                   ", since both are of one bank");
      if (model.failed()) // one error is enough, and there may be thousands
        break;
    }
    return StackAttr::get(model.getContext(), parts);
  };
}

Recipe mlir::moe::whereStored(std::string name, Recipe fused,
                              Recipe otherwise) {
  return [=](Model &model) {
    return model.hasTensor(name) ? fused(model) : otherwise(model);
  };
}
