//===- TileGroupedMatmul.cpp - moe-tile-grouped-matmul --------------------===//
//
// Grouped products over packed banks become one parallel loop over a run-time list of work; inside another parallel
// loop, serial loops over the same kernels.
//
//===----------------------------------------------------------------------===//

#include "GroupedMatmulKernels.h"
#include "WorkList.h"

#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/StringExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_TILEGROUPEDMATMULPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-tile-grouped-matmul";

/// Item rows and block sizes beyond this would not fit a stack.
static constexpr int64_t kMaxOption = 4096;

/// Why the kernels cannot compute `op`, if so.
static std::optional<StringRef> whyNot(GroupedMatmulOp op) {
  for (Value bank : op.getBanks()) {
    auto type = cast<BankType>(bank.getType());
    if (!type.isPacked() || type.getData().getDimSize(3) != kPanelWidth)
      return StringRef("a bank is not packed in panels of 32 outputs");
    if (type.getComponents().size() != 1 || !isa<FloatType>(type.getData().getElementType()) ||
        type.getData().getElementTypeBitWidth() > 32)
      return StringRef("a bank is not of plain f32, f16 or bf16");
    if (type.getData().getElementType() != cast<BankType>(op.getBanks()[0].getType()).getData().getElementType())
      return StringRef("the banks have different element types");
  }
  if (op.getInit().getType().getDimSize(1) < 1 || ProductShape::of(op).k < 1)
    return StringRef("it has no columns or nothing to sum");
  return std::nullopt;
}

static Value panelsOfChunk(const IndexBuilder &builder, Value panel, const ProductShape &shape,
                           const ProductTiling &tiling) {
  if (shape.getPanels() % tiling.chunkPanels == 0)
    return builder.constant(tiling.chunkPanels);
  return builder.min(builder.constant(tiling.chunkPanels), builder.sub(builder.constant(shape.getPanels()), panel));
}

/// One parallel loop over (chunk of panels, item). The item runs fastest: all items of a group read the same weights
/// one after the other.
static Value buildParallel(const IndexBuilder &builder, GroupedMatmulOp op, const ProductTiling &tiling) {
  GroupedMatmulKernels kernels(builder, op, tiling);
  const ProductShape &shape = kernels.getShape();
  WorkList list = buildWorkList(builder, op.getOffsets(), shape, tiling);
  SmallVector<OpFoldResult> bounds = {builder.attr(tiling.getChunks(shape)), builder.fold(list.count)};
  auto loop = scf::ForallOp::create(
      builder.b, builder.loc, bounds, ValueRange{op.getInit()}, /*mapping=*/std::nullopt,
      [&](OpBuilder &nested, Location loc, ValueRange arguments) {
        IndexBuilder body{nested, loc};
        Value init = arguments[2];
        auto field = [&](WorkItemField field) {
          return body.extract(list.items, {arguments[1], body.constant(field)});
        };
        // A lone chunk is known to begin at 0, so that its columns are known too.
        bool lone = tiling.getChunks(shape) == 1;
        Value panel = lone ? body.constant(0) : body.mul(arguments[0], tiling.chunkPanels);
        WorkItem item = {field(kGroup), field(kBegin), field(kRows),
                         field(kClass), panel,         panelsOfChunk(body, panel, shape, tiling)};
        GroupedMatmulKernels::Part part = kernels.build(body, item, init);
        SmallVector<OpFoldResult> strides(2, body.attr(1));
        auto inParallel = scf::InParallelOp::create(nested, loc);
        nested.setInsertionPointToStart(inParallel.getBody());
        tensor::ParallelInsertSliceOp::create(nested, loc, part.value, init, part.offsets, part.sizes, strides);
      });
  return loop.getResult(0);
}

/// The same work in order, for products that stand in a parallel loop already.
static Value buildSerial(const IndexBuilder &builder, GroupedMatmulOp op, const ProductTiling &tiling) {
  GroupedMatmulKernels kernels(builder, op, tiling);
  const ProductShape &shape = kernels.getShape();
  auto chunks = [&](const IndexBuilder &body, WorkItem item, Value init) {
    return body.loop(body.constant(0), body.constant(shape.getPanels()), tiling.chunkPanels, init,
                     [&](const IndexBuilder &nested, Value panel, ValueRange values) -> SmallVector<Value> {
                       item.panel = panel;
                       item.panels = panelsOfChunk(nested, panel, shape, tiling);
                       GroupedMatmulKernels::Part part = kernels.build(nested, item, values[0]);
                       return {nested.insertSlice(part.value, values[0], part.offsets, part.sizes)};
                     })[0];
  };
  Value zero = builder.constant(0);
  return builder.loop(
      zero, builder.constant(shape.groups), 1, op.getInit(),
      [&](const IndexBuilder &body, Value group, ValueRange values) -> SmallVector<Value> {
        Value begin = body.extract(op.getOffsets(), group);
        Value end = body.extract(op.getOffsets(), body.add(group, body.constant(1)));
        return body.loop(begin, end, tiling.maxItemRows, values,
                         [&](const IndexBuilder &nested, Value row, ValueRange values) -> SmallVector<Value> {
                           Value rows = nested.min(nested.constant(tiling.maxItemRows), nested.sub(end, row));
                           WorkItem item = {group, row, rows, buildKernelClass(nested, rows, tiling), Value(), Value()};
                           return {chunks(nested, item, values[0])};
                         });
      })[0];
}

namespace {
struct TileGroupedMatmulPass : public moe::impl::TileGroupedMatmulPassBase<TileGroupedMatmulPass> {
  using TileGroupedMatmulPassBase::TileGroupedMatmulPassBase;

  LogicalResult initialize(MLIRContext *context) override {
    std::pair<StringRef, int64_t> numbers[] = {{"max-item-rows", maxItemRows}, {"block-size", blockSize}};
    for (auto [name, value] : numbers)
      if (value < 0 || value > kMaxOption)
        return emitError(UnknownLoc::get(context))
               << "expected '" << name << "' to be 0 to " << kMaxOption << ", got " << value;
    if (forceClass.empty())
      return success();
    const auto *found = llvm::find(getKernelClasses(), forceClass.getValue());
    if (found == getKernelClasses().end())
      return emitError(UnknownLoc::get(context)) << "expected 'force-class' to be one of "
                                                 << llvm::join(getKernelClasses(), ", ") << ", got '" << forceClass << "'";
    forced = static_cast<KernelClass>(std::distance(getKernelClasses().begin(), found));
    return success();
  }

  void runOnOperation() override {
    auto module = getOperation()->getParentOfType<ModuleOp>();
    auto target = module ? module->getAttrOfType<CPUTargetAttr>(MoEDialect::kTargetAttr) : CPUTargetAttr();
    SmallVector<GroupedMatmulOp> products;
    getOperation().walk([&](GroupedMatmulOp op) { products.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (GroupedMatmulOp op : products) {
      if (std::optional<StringRef> reason = whyNot(op)) {
        reportMissed(op, kPass, *reason);
        continue;
      }
      ProductShape shape = ProductShape::of(op);
      ProductTiling tiling = chooseTiling(shape, target);
      if (maxItemRows > 0)
        tiling.maxItemRows = tiling.minItemRows = maxItemRows;
      if (blockSize > 0)
        tiling.fullBlock = tiling.fewBlock = std::min<int64_t>(blockSize, shape.k);
      if (forced)
        moe::forceClass(tiling, *forced);
      if (printDecisions)
        op.emitRemark() << tiling.describe(shape);
      rewriter.setInsertionPoint(op);
      IndexBuilder builder{rewriter, NameLoc::get(rewriter.getStringAttr("grouped_matmul"), op.getLoc())};
      bool nested = op->getParentOfType<scf::ForallOp>() || op->getParentOfType<scf::ParallelOp>();
      rewriter.replaceOp(op, nested ? buildSerial(builder, op, tiling) : buildParallel(builder, op, tiling));
      ++tiled;
    }
  }

  std::optional<KernelClass> forced;
};
} // namespace
