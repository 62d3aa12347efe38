//===- CostModel.h - Which tiles and kernel classes to compile --*- C++ -*-===//
//
// One decision per grouped product, from its shape and the facts about the target. Readable on its own; the
// decision prints as one line.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_COSTMODEL_H
#define MOE_DIALECT_MOE_TRANSFORMS_COSTMODEL_H

#include "moe/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {

/// Outputs per panel of a packed bank, the same for every CPU: packed files do not depend on the vector width.
constexpr int64_t kPanelWidth = 32;

/// The kernel an item of the work list runs. The values are those in the list.
enum class KernelClass : int64_t { single = 0, few = 1, full = 2 };

/// What the model looks at.
struct ProductShape {
  int64_t groups, n, k, banks, elementBytes;

  static ProductShape of(GroupedMatmulOp op);
  int64_t getPanels() const { return (n + kPanelWidth - 1) / kPanelWidth; }
};

/// What the model decides.
struct ProductTiling {
  /// Rows of the register tiles, descending. An item is covered from the first to the last; its rows are padded to a
  /// multiple of the last.
  SmallVector<int64_t> tileRows;
  /// Columns of the register tiles: a panel or half of one.
  int64_t tileColumns;
  /// Groups of one row run class single, up to `fewRows` class few, others class full.
  int64_t fewRows;
  /// Bounds on the rows of one item; the lower one is used where there are fewer tasks than `wantedTasks`.
  int64_t minItemRows, maxItemRows;
  /// Tasks (chunks times items) that keep all threads of a large machine busy.
  int64_t wantedTasks;
  /// Panels per task, and panels that a single row does at once.
  int64_t chunkPanels, singlePanels;
  /// Products are summed in blocks of this many k (full, few): a block of a panel stays in the first level cache
  /// while all rows pass over it, and the local copy of the rows stays small whatever K is.
  int64_t fullBlock, fewBlock;
  /// Whether one class was asked for.
  std::optional<KernelClass> forced;

  int64_t getChunks(const ProductShape &shape) const {
    return (shape.getPanels() + chunkPanels - 1) / chunkPanels;
  }
  /// One line for people: `64 x [1024, 2048] x 2: single, few <= 4 rows, full 12,8,4 x 32 ...`.
  std::string describe(const ProductShape &shape) const;
};

/// Decides for `shape` on `target`; null means a plain AVX2 machine.
ProductTiling chooseTiling(const ProductShape &shape, CPUTargetAttr target);

/// The same with all items in one class.
void forceClass(ProductTiling &tiling, KernelClass forced);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_COSTMODEL_H
