//===- Recipes.h - Weights as parts of a checkpoint's tensors ---*- C++ -*-===//
//
// What architectures say about a weight before the checkpoint is open: which
// tensors it is made of, and how. Shapes are given; storage types are the
// file's.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_RECIPES_H
#define MOE_LIB_IMPORT_RECIPES_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "llvm/ADT/SmallVector.h"

#include <functional>
#include <string>
#include <vector>

namespace mlir::moe {

class Model;

/// Makes a recipe attribute once the checkpoint is known. A tensor that is
/// missing or has another shape is an error kept in the model; a recipe comes
/// back all the same.
using Recipe = std::function<RecipeAttrInterface(Model &)>;
using Extents = llvm::SmallVector<int64_t, 4>;

/// The tensor of that name. Of several names of one thing the first that the
/// checkpoint has counts.
Recipe tensorNamed(std::vector<std::string> names, Extents shape);
/// `size` entries of dimension `dim` from `offset`, every `stride`-th.
Recipe sliceOf(Recipe part, int64_t dim, int64_t offset, int64_t size,
               int64_t stride = 1);
/// Dimension i is dimension `permutation[i]` of the part.
Recipe transposeOf(Recipe part, Extents permutation);
Recipe reshapeOf(Recipe part, Extents shape);
/// Tensors of one shape and storage type along a new first dimension.
Recipe stackOf(std::vector<std::string> names, Extents shape);
/// `fused` if the checkpoint has the tensor `name`, else `otherwise`.
Recipe whereStored(std::string name, Recipe fused, Recipe otherwise);

/// A weight of the program: its name there, and how it is made. A name alone
/// means the tensor of that name, an empty one no weight.
struct Weight {
  Weight() = default;
  Weight(std::string name) : name(std::move(name)) {}
  Weight(const char *name) : name(name) {}
  Weight(std::string name, Recipe recipe)
      : name(std::move(name)), recipe(std::move(recipe)) {}

  bool empty() const { return name.empty(); }

  std::string name;
  Recipe recipe; ///< null: the tensor `name`
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_RECIPES_H
