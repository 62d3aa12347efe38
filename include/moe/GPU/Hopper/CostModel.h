//===- CostModel.h - Which tile of tokens to compile ------------*- C++ -*-===//
//
// One decision per grouped product, from its shape, the rows that an expert has on average and the device. Readable on
// its own; the decision prints as one line.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_COSTMODEL_H
#define MOE_GPU_HOPPER_COSTMODEL_H

#include <cstdint>
#include <string>
#include <vector>

namespace mlir::moe::hopper {

/// What the model looks at.
struct ProductFacts {
  int64_t experts, k, columns, banks;
  bool gathered;
  /// tokens * experts per token / experts: known on the host without a look at the routing.
  double rowsPerExpert;
};

/// What the model decides.
struct ProductDecision {
  int64_t tokenTile, stages, raster;
  /// Cycles that an expert's tiles of one tile of columns take, as the model sees it.
  double cycles;
  /// Rows that are multiplied, padding included, for each row that exists.
  double workFactor;

  /// One line for people: `8 x [1024, 2048] x 2, 64 rows per expert: 72 tokens, 4 stages, work 1.13`.
  std::string describe(const ProductFacts &facts) const;
};

/// The decision for a tile of `tokenTile` tokens.
ProductDecision evaluateTile(const ProductFacts &facts, int64_t tokenTile);

/// The cheapest tile; of equal ones the largest.
ProductDecision chooseTile(const ProductFacts &facts);

/// The decision for calls of up to `maxRows` rows of all experts together.
struct TileClass {
  int64_t maxRows;
  ProductFacts facts;
  ProductDecision decision;
};

/// Which tile for how many rows, ascending, up to `maxRows`; `facts.rowsPerExpert` does not matter.
std::vector<TileClass> chooseClasses(ProductFacts facts, int64_t maxRows);

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_COSTMODEL_H
