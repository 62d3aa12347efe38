//===- WorkList.h - The run-time list of work of a grouped product -*- C++ -*-===//
//
// Turns the counts of the groups into items (group, first row, rows, kernel class), heavy groups first.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_WORKLIST_H
#define MOE_DIALECT_MOE_TRANSFORMS_WORKLIST_H

#include "CostModel.h"
#include "moe/Dialect/MoE/Transforms/IndexBuilder.h"

namespace mlir::moe {

/// Columns of the list.
enum WorkItemField : int64_t { kGroup = 0, kBegin = 1, kRows = 2, kClass = 3, kWorkItemFields = 4 };

struct WorkList {
  Value items; // tensor<?x4xindex>
  Value count; // index
};

/// Builds the list for groups at `offsets` (`tensor<(groups + 1)xindex>`): two loops over the groups.
WorkList buildWorkList(const IndexBuilder &builder, Value offsets, const ProductShape &shape,
                       const ProductTiling &tiling);

/// The kernel class of an item of `rows` rows.
Value buildKernelClass(const IndexBuilder &builder, Value rows, const ProductTiling &tiling);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_WORKLIST_H
