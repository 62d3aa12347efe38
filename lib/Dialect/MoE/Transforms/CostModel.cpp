//===- CostModel.cpp - Which tiles and kernel classes to compile ----------===//
//
// The rules, each with its reason. Whatever is decided here, every product is summed with K ascending in one chain, so
// that no decision changes a bit of a result.
//
//===----------------------------------------------------------------------===//

#include "CostModel.h"

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

ProductShape ProductShape::of(GroupedMatmulOp op) {
  RankedTensorType data = cast<BankType>(op.getBanks().front().getType()).getData();
  return {op.getGroups(), op.getInit().getType().getDimSize(1), data.getDimSize(2), int64_t(op.getBanks().size()),
          int64_t(llvm::divideCeil(data.getElementTypeBitWidth(), 8))};
}

/// Equal blocks of at most `limit`, in whole cache lines of f32; all of `k` if that is one block.
static int64_t equalBlocks(int64_t k, int64_t limit) {
  limit = std::clamp<int64_t>(llvm::alignDown(limit, 16), 64, 4096);
  if (k <= limit)
    return k;
  int64_t blocks = llvm::divideCeil(k, limit);
  return llvm::alignTo(llvm::divideCeil(k, blocks), 16);
}

ProductTiling moe::chooseTiling(const ProductShape &shape, CPUTargetAttr target) {
  int64_t vectorBits = target ? target.getVectorBits() : 256;
  int64_t l1 = target ? target.getL1Bytes() : 32 * 1024;
  int64_t l2 = target ? target.getL2Bytes() : 512 * 1024;

  ProductTiling tiling;
  if (vectorBits == 512) {
    // 12 x 32 are 24 of 32 registers: enough chains to hide the latency, and a load of weights feeds 12 products. The
    // lower tiles bound the padding of a group's last rows to 3.
    tiling.tileRows = {12, 8, 4};
    tiling.tileColumns = kPanelWidth;
    tiling.singlePanels = 4;
  } else {
    // 6 x 16 are 12 of 16 registers.
    tiling.tileRows = {6, 3};
    tiling.tileColumns = kPanelWidth / 2;
    tiling.singlePanels = 2;
  }
  tiling.fewRows = tiling.tileRows.back();

  // A task is as wide as the panels that a single row does at once or more, so that its output is whole cache lines
  // and copying the rows of an item costs a percent of its products.
  tiling.chunkPanels = std::min<int64_t>(4, shape.getPanels());
  tiling.singlePanels = std::min(tiling.singlePanels, tiling.chunkPanels);

  // Two thirds of the first level hold a block of a panel; the rest is for the rows that stream past it.
  tiling.fullBlock = equalBlocks(shape.k, l1 * 2 / 3 / (kPanelWidth * shape.elementBytes));
  // Few rows read each weight once: nothing to keep, so blocks are as long as the rows' copy fits the first level.
  tiling.fewBlock = equalBlocks(shape.k, l1 / (tiling.fewRows * int64_t(sizeof(float))));

  // The rows' copy takes at most half of the second level. Beyond 96 rows reading weights again is already cheap, and
  // smaller items balance better.
  int64_t highest = tiling.tileRows.front();
  int64_t fitting = l2 / 2 / ((tiling.fullBlock + 16) * int64_t(sizeof(float)));
  tiling.maxItemRows = std::clamp<int64_t>(llvm::alignDown(fitting, highest), highest, 96);
  // Below two full tiles an item would wait for memory rather than multiply.
  tiling.minItemRows = std::min(2 * highest, tiling.maxItemRows);
  tiling.wantedTasks = 64;
  return tiling;
}

void moe::forceClass(ProductTiling &tiling, KernelClass forced) {
  tiling.forced = forced;
  if (forced == KernelClass::full)
    return;
  int64_t rows = forced == KernelClass::single ? 1 : tiling.fewRows;
  tiling.minItemRows = tiling.maxItemRows = rows;
}

static constexpr StringLiteral kKernelClasses[] = {"single", "few", "full"};

ArrayRef<StringLiteral> moe::getKernelClasses() { return kKernelClasses; }

static StringRef nameOf(KernelClass kernel) { return kKernelClasses[static_cast<int64_t>(kernel)]; }

std::string ProductTiling::describe(const ProductShape &shape) const {
  std::string heights = llvm::join(llvm::map_range(tileRows, [](int64_t rows) { return std::to_string(rows); }), ",");
  std::string text =
      llvm::formatv("{0} groups x [{1}, {2}] x {3} banks of {4} bytes: tiles {5} x {6}, single row 1 x {7}, few rows up "
                    "to {8}, items of {9} to {10} rows x {11} columns, K blocks of {12} (few: {13})",
                    shape.groups, shape.n, shape.k, shape.banks, shape.elementBytes, heights, tileColumns,
                    singlePanels * kPanelWidth, fewRows, minItemRows, maxItemRows, chunkPanels * kPanelWidth,
                    fullBlock, fewBlock);
  if (forced)
    text += (", only class " + nameOf(*forced)).str();
  return text;
}
