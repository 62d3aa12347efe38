//===- LinalgToThreads.cpp - Linalg as parallel loops ---------------------===//
//
// Implements moe-gpu-linalg-to-threads: one iteration per element of the parallel dimensions, reductions in registers.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LINALGTOTHREADSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using linalg::LinalgOp;

/// Why `op` has no such loops, or empty: each thread must own the elements it sums.
static StringRef findObstacle(LinalgOp op) {
  if (!op.hasPureBufferSemantics())
    return "expected operands in memory";
  SmallVector<utils::IteratorType> iterators = op.getIteratorTypesArray();
  for (utils::IteratorType iterator : iterators)
    if (iterator != utils::IteratorType::parallel && iterator != utils::IteratorType::reduction)
      return "expected dimensions to be parallel or reductions";
  for (OpOperand &init : op.getDpsInitsMutable()) {
    AffineMap map = op.getMatchingIndexingMap(&init);
    for (auto [dim, iterator] : llvm::enumerate(iterators))
      if (map.isFunctionOfDim(dim) == (iterator == utils::IteratorType::reduction))
        return "expected each element of a result to be one index of the parallel dimensions";
  }
  return "";
}

namespace {
/// The loops of one operation.
class Nest {
public:
  explicit Nest(LinalgOp op) : op(op), builder(op), loc(op.getLoc()), indices(op.getNumLoops()) {}
  void build();

private:
  SmallVector<unsigned> getDims(utils::IteratorType type);
  Value index(OpFoldResult value) { return getValueOrCreateConstantIndexOp(builder, loc, value); }
  SmallVector<Value> buildPlace(OpOperand *operand);
  void buildThread();
  SmallVector<Value> buildReduction(ArrayRef<unsigned> dims, SmallVector<Value> sums);
  SmallVector<Value> buildBody(ValueRange sums);

  LinalgOp op;
  OpBuilder builder;
  Location loc;
  SmallVector<Range> ranges;
  SmallVector<Value> indices;
};
} // namespace

SmallVector<unsigned> Nest::getDims(utils::IteratorType type) {
  SmallVector<unsigned> dims;
  for (auto [dim, iterator] : llvm::enumerate(op.getIteratorTypesArray()))
    if (iterator == type)
      dims.push_back(dim);
  return dims;
}

void Nest::build() {
  ranges = op.createLoopRanges(builder, loc);
  SmallVector<unsigned> dims = getDims(utils::IteratorType::parallel);
  SmallVector<Value> lower, upper, steps;
  for (unsigned dim : dims) {
    lower.push_back(index(ranges[dim].offset));
    upper.push_back(index(ranges[dim].size));
    steps.push_back(index(ranges[dim].stride));
  }
  // A single element is a loop of one iteration.
  if (dims.empty()) {
    Value one = index(builder.getIndexAttr(1));
    lower = {index(builder.getIndexAttr(0))};
    upper = steps = {one};
  }
  auto loop = scf::ParallelOp::create(builder, loc, lower, upper, steps);
  for (auto [dim, variable] : llvm::zip(dims, loop.getInductionVars()))
    indices[dim] = variable;
  builder.setInsertionPointToStart(loop.getBody());
  buildThread();
}

/// Where the element of `operand` lies in the current iteration.
SmallVector<Value> Nest::buildPlace(OpOperand *operand) {
  AffineMap map = op.getMatchingIndexingMap(operand);
  SmallVector<OpFoldResult> dims(indices.begin(), indices.end());
  // Dimensions whose loop is not open yet do not occur in the map.
  for (OpFoldResult &dim : dims)
    if (!isa<Attribute>(dim) && !cast<Value>(dim))
      dim = builder.getIndexAttr(0);
  SmallVector<Value> place;
  for (AffineExpr expression : map.getResults()) {
    AffineMap single = AffineMap::get(map.getNumDims(), map.getNumSymbols(), expression);
    place.push_back(index(affine::makeComposedFoldedAffineApply(builder, loc, single, dims)));
  }
  return place;
}

void Nest::buildThread() {
  SmallVector<Value> sums;
  for (OpOperand &init : op.getDpsInitsMutable()) {
    // What is not read need not be loaded; it stands for itself in a chain of one.
    bool read = op.payloadUsesValueFromOperand(&init) || !getDims(utils::IteratorType::reduction).empty();
    sums.push_back(read ? memref::LoadOp::create(builder, loc, init.get(), buildPlace(&init)).getResult() : Value());
  }
  sums = buildReduction(getDims(utils::IteratorType::reduction), sums);
  for (auto [init, sum] : llvm::zip_equal(op.getDpsInitsMutable(), sums))
    memref::StoreOp::create(builder, loc, sum, init.get(), buildPlace(&init));
}

SmallVector<Value> Nest::buildReduction(ArrayRef<unsigned> dims, SmallVector<Value> sums) {
  if (dims.empty())
    return buildBody(sums);
  const Range &range = ranges[dims.front()];
  auto loop = scf::ForOp::create(builder, loc, index(range.offset), index(range.size), index(range.stride), sums);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  indices[dims.front()] = loop.getInductionVar();
  SmallVector<Value> next = buildReduction(dims.drop_front(), SmallVector<Value>(loop.getRegionIterArgs()));
  scf::YieldOp::create(builder, loc, next);
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value> Nest::buildBody(ValueRange sums) {
  IRMapping mapping;
  Block *body = op.getBlock();
  for (OpOperand *input : op.getDpsInputOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(input);
    if (argument.use_empty())
      continue;
    Value element = input->get();
    if (isa<MemRefType>(element.getType()))
      element = memref::LoadOp::create(builder, loc, element, buildPlace(input));
    mapping.map(argument, element);
  }
  for (auto [init, sum] : llvm::zip_equal(op.getDpsInitsMutable(), sums))
    if (sum)
      mapping.map(op.getMatchingBlockArgument(&init), sum);
  for (Operation &inner : body->without_terminator()) {
    if (auto position = dyn_cast<linalg::IndexOp>(inner))
      mapping.map(position.getResult(), indices[position.getDim()]);
    else
      builder.clone(inner, mapping);
  }
  return llvm::map_to_vector(body->getTerminator()->getOperands(),
                             [&](Value value) { return mapping.lookupOrDefault(value); });
}

namespace {
struct LinalgToThreadsPass : moe::impl::LinalgToThreadsPassBase<LinalgToThreadsPass> {
  void runOnOperation() override {
    SmallVector<LinalgOp> ops;
    getOperation().walk([&](LinalgOp op) { ops.push_back(op); });
    for (LinalgOp op : ops) {
      if (StringRef obstacle = findObstacle(op); !obstacle.empty()) {
        op.emitError("cannot be computed by independent threads: ") << obstacle;
        return signalPassFailure();
      }
      Nest(op).build();
      op.erase();
    }
  }
};
} // namespace
