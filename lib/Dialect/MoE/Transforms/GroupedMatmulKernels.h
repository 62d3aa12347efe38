//===- GroupedMatmulKernels.h - One item of a grouped product ---*- C++ -*-===//
//
// Builds the tensor program of each kernel class: some rows of one group times some panels of its matrix.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_GROUPEDMATMULKERNELS_H
#define MOE_DIALECT_MOE_TRANSFORMS_GROUPEDMATMULKERNELS_H

#include "CostModel.h"
#include "moe/Dialect/MoE/Transforms/IndexBuilder.h"

namespace mlir::moe {

/// Rows [begin, begin + rows) of `group`, the kernel class they run, and the panels [panel, panel + panels).
struct WorkItem {
  Value group, begin, rows, kernelClass, panel, panels;
};

class GroupedMatmulKernels {
public:
  /// Banks of `op` become tensors where `builder` stands.
  GroupedMatmulKernels(const IndexBuilder &builder, GroupedMatmulOp op, const ProductTiling &tiling);

  /// `init` (all rows and columns of the result) with the part of `item` computed, as slice and where it belongs.
  struct Part {
    Value value;
    SmallVector<OpFoldResult> offsets, sizes;
  };
  Part build(const IndexBuilder &builder, const WorkItem &item, Value init);

  const ProductShape &getShape() const { return shape; }

private:
  struct Tiles {
    ArrayRef<int64_t> heights;
    int64_t maxRows, block;
  };
  Value buildSingle(const IndexBuilder &builder, const WorkItem &item, Value out);
  Value buildTiles(const IndexBuilder &builder, const WorkItem &item, Value out, const Tiles &tiles);
  Value copyRows(const IndexBuilder &builder, const WorkItem &item, Value padded, Value depth, OpFoldResult size,
                 const Tiles &tiles);
  SmallVector<Value> buildBlock(const IndexBuilder &builder, const WorkItem &item, Value padded, Value depth,
                                const Tiles &tiles, ValueRange sums);
  Value buildEpilogue(const IndexBuilder &builder, const WorkItem &item, ValueRange products, Value out);
  Value sourceRow(const IndexBuilder &builder, Value row);
  /// Valid columns of `panels` panels from `panel` on.
  Value columnsOf(const IndexBuilder &builder, Value panel, Value panels);

  GroupedMatmulOp op;
  ProductTiling tiling;
  ProductShape shape;
  SmallVector<Value> banks, vectors;
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_GROUPEDMATMULKERNELS_H
