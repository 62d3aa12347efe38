//===- VectorizeLoops.cpp - the loops around a kernel ----------------------===//
//
// Builds the loop nest that a plan describes: chunks over threads, blocks of
// parallel dimensions, vectors with a masked tail, and the reduction inside.
//
//===----------------------------------------------------------------------===//

#include "VectorizeBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe::vectorize;

/// Iterations that make a chunk worth a thread's while, and the guess for a dynamic
/// dimension when counting them.
static constexpr int64_t kChunkIterations = 32768;
static constexpr int64_t kDynamicGuess = 256;

namespace {
class NestEmitter {
public:
  NestEmitter(OpBuilder &builder, const Kernel &kernel, const Plan &plan);
  void run(bool parallel);

private:
  using Emit = llvm::function_ref<void()>;
  using EmitAccumulators =
      llvm::function_ref<SmallVector<Value>(SmallVector<Value>)>;

  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  bool isStatic(unsigned dim) const {
    return !ShapedType::isDynamic(extents[dim]);
  }
  bool emitChunks();
  void emitDim(unsigned level);
  void emitRange(unsigned dim, Value from, Value to, int64_t block,
                 unsigned level);
  void emitBlock(unsigned dim, Value base, int64_t block, unsigned level);
  void emitStaticDim(unsigned dim, unsigned level);
  void emitDynamicDim(unsigned dim, unsigned level);
  Value alignedEnd(unsigned dim, int64_t multiple);
  void emitPoints();
  SmallVector<Value> emitLoop(Value from, Value to, int64_t step, unsigned dim,
                              SmallVector<Value> accumulators,
                              EmitAccumulators body);
  SmallVector<Value> emitReduction(ArrayRef<unsigned> dims,
                                   ArrayRef<Point> points,
                                   SmallVector<Value> accumulators);
  SmallVector<Value> emitLaneReduction(ArrayRef<Point> points,
                                       SmallVector<Value> accumulators);
  SmallVector<Value> evaluate(ArrayRef<Point> points,
                              ArrayRef<Value> accumulators);
  SmallVector<Point> enumeratePoints() const;
  SmallVector<size_t> evaluationOrder(ArrayRef<Point> points) const;
  Value neutralLanes(const Combiner &combiner);
  Value combine(const Combiner &combiner, Value left, Value right);
  Value closeTree(const Combiner &combiner, Value lanes);
  void emitMemoryForm(unsigned dim);

  OpBuilder &builder;
  Location loc;
  const Kernel &kernel;
  const Plan &plan;
  BodyEmitter body;
  SmallVector<int64_t> extents;
  SmallVector<Value> lower, upper;
  /// Points of the current block, per dimension.
  SmallVector<int64_t> counts;
};
} // namespace

NestEmitter::NestEmitter(OpBuilder &builder, const Kernel &kernel,
                         const Plan &plan)
    : builder(builder), loc(kernel.loc), kernel(kernel), plan(plan),
      body(builder, kernel, plan), extents(kernel.extents),
      counts(kernel.extents.size(), 1) {
  for (unsigned dim = 0; dim < extents.size(); ++dim) {
    lower.push_back(constant(0));
    if (isStatic(dim)) {
      upper.push_back(constant(extents[dim]));
      continue;
    }
    AffineExpr self = getAffineDimExpr(dim, builder.getContext());
    Value size;
    for (const Access &access :
         llvm::concat<const Access>(kernel.inputs, kernel.outputs))
      if (!size && !access.isScalar())
        if (auto position = access.map.getResultPosition(self))
          size = memref::DimOp::create(builder, loc, access.operand, *position);
    upper.push_back(size);
  }
}

//===----------------------------------------------------------------------===//
// Parallel dimensions
//===----------------------------------------------------------------------===//

/// Splits the first parallel dimension over threads if one chunk is not all there is.
bool NestEmitter::emitChunks() {
  if (kernel.parallelDims.empty())
    return false;
  unsigned dim = kernel.parallelDims.front();
  int64_t inner = 1;
  for (auto [other, extent] : llvm::enumerate(extents))
    if (other != dim)
      inner = std::min(kChunkIterations,
                       inner * std::max<int64_t>(
                                   1, isStatic(other) ? extent : kDynamicGuess));
  int64_t unit = plan.block[dim] * (plan.vectorDim == dim ? kLanes : 1);
  int64_t chunk = llvm::alignTo(llvm::divideCeil(kChunkIterations, inner), unit);
  if (isStatic(dim) && extents[dim] <= chunk)
    return false;

  Value end = upper[dim];
  Value step = constant(chunk);
  auto loop = scf::ParallelOp::create(builder, loc, ValueRange{lower[dim]},
                                      ValueRange{end}, ValueRange{step});
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  extents[dim] = ShapedType::kDynamic;
  lower[dim] = loop.getInductionVars().front();
  Value next = arith::AddIOp::create(builder, loc, lower[dim], step);
  upper[dim] = arith::MinSIOp::create(builder, loc, next, end);
  emitDim(0);
  return true;
}

void NestEmitter::emitDim(unsigned level) {
  if (level == plan.order.size())
    return emitPoints();
  unsigned dim = plan.order[level];
  if (isStatic(dim))
    return emitStaticDim(dim, level);
  emitDynamicDim(dim, level);
}

/// `block` points from `base` on, without a loop.
void NestEmitter::emitBlock(unsigned dim, Value base, int64_t block,
                            unsigned level) {
  counts[dim] = block;
  body.setDim(dim, base, block);
  emitDim(level + 1);
}

/// A loop over blocks.
void NestEmitter::emitRange(unsigned dim, Value from, Value to, int64_t block,
                            unsigned level) {
  int64_t step = block * (plan.vectorDim == dim ? kLanes : 1);
  auto loop = scf::ForOp::create(builder, loc, from, to, constant(step));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  emitBlock(dim, loop.getInductionVar(), block, level);
}

void NestEmitter::emitStaticDim(unsigned dim, unsigned level) {
  int64_t width = plan.vectorDim == dim ? kLanes : 1;
  int64_t block = plan.block[dim], step = block * width;
  int64_t extent = extents[dim], blocks = extent / step;
  if (blocks == 1)
    emitBlock(dim, constant(0), block, level);
  else if (blocks > 1)
    emitRange(dim, constant(0), constant(blocks * step), block, level);
  int64_t done = blocks * step;
  if (int64_t rest = (extent - done) / width) {
    emitBlock(dim, constant(done), rest, level);
    done += rest * width;
  }
  if (done == extent)
    return;
  auto type = VectorType::get({kLanes}, builder.getI1Type());
  Value mask = vector::ConstantMaskOp::create(builder, loc, type,
                                              ArrayRef<int64_t>{extent - done});
  body.setMask(mask, constant(extent));
  emitBlock(dim, constant(done), 1, level);
  body.setMask(nullptr, nullptr);
}

/// The end of the last whole multiple from the lower bound on.
Value NestEmitter::alignedEnd(unsigned dim, int64_t multiple) {
  Value size = arith::SubIOp::create(builder, loc, upper[dim], lower[dim]);
  Value rest = arith::RemUIOp::create(builder, loc, size, constant(multiple));
  return arith::SubIOp::create(builder, loc, upper[dim], rest);
}

void NestEmitter::emitDynamicDim(unsigned dim, unsigned level) {
  int64_t block = plan.block[dim];
  bool lanes = plan.vectorDim == dim;
  if (!lanes && block == 1)
    return emitRange(dim, lower[dim], upper[dim], 1, level);
  Value done = alignedEnd(dim, block * (lanes ? kLanes : 1));
  emitRange(dim, lower[dim], done, block, level);
  if (!lanes)
    return emitRange(dim, done, upper[dim], 1, level);
  if (block > 1) {
    Value whole = alignedEnd(dim, kLanes);
    emitRange(dim, done, whole, 1, level);
    done = whole;
  }
  Value hasTail = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt,
                                        done, upper[dim]);
  auto tail = scf::IfOp::create(builder, loc, hasTail, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(tail.thenBlock());
  Value count = arith::SubIOp::create(builder, loc, upper[dim], done);
  auto type = VectorType::get({kLanes}, builder.getI1Type());
  body.setMask(
      vector::CreateMaskOp::create(builder, loc, type, ValueRange{count}),
      upper[dim]);
  emitBlock(dim, done, 1, level);
  body.setMask(nullptr, nullptr);
}

//===----------------------------------------------------------------------===//
// Points and reductions
//===----------------------------------------------------------------------===//

/// All points of the current block, the lanes' dimension running fastest.
SmallVector<Point> NestEmitter::enumeratePoints() const {
  SmallVector<Point> points = {Point(counts.size(), 0)};
  SmallVector<unsigned> dims = kernel.parallelDims;
  if (plan.vectorDim && !plan.lanesReduce) {
    llvm::erase(dims, *plan.vectorDim);
    dims.push_back(*plan.vectorDim);
  }
  for (unsigned dim : dims) {
    SmallVector<Point> finer;
    for (const Point &point : points)
      for (int64_t offset = 0; offset < counts[dim]; ++offset) {
        finer.push_back(point);
        finer.back()[dim] = offset;
      }
    points = std::move(finer);
  }
  return points;
}

void NestEmitter::emitPoints() {
  SmallVector<Point> points = enumeratePoints();
  body.startBody();
  if (kernel.reductionDims.empty()) {
    for (const Point &point : points) {
      SmallVector<Value> results = body.evaluate(point, {});
      for (auto [result, access] : llvm::zip_equal(results, kernel.outputs))
        body.store(result, access, point);
    }
    return;
  }

  SmallVector<Value> accumulators;
  for (const Point &point : points)
    for (auto [access, combiner] :
         llvm::zip_equal(kernel.outputs, kernel.combiners)) {
      if (!plan.lanesReduce) {
        accumulators.push_back(body.load(access, point));
        continue;
      }
      accumulators.push_back(neutralLanes(combiner));
    }
  SmallVector<unsigned> dims = kernel.reductionDims;
  if (plan.lanesReduce)
    llvm::erase(dims, *plan.vectorDim);
  accumulators = emitReduction(dims, points, std::move(accumulators));

  body.startBody();
  const Value *next = accumulators.begin();
  for (const Point &point : points)
    for (auto [access, combiner] :
         llvm::zip_equal(kernel.outputs, kernel.combiners)) {
      Value result = *next++;
      if (plan.lanesReduce)
        result = combine(combiner, body.load(access, point),
                         closeTree(combiner, result));
      body.store(result, access, point);
    }
}

/// Row by row a block keeps one row of vectors at hand, column by column one
/// broadcast element for each row: the shorter way leaves registers free.
SmallVector<size_t>
NestEmitter::evaluationOrder(ArrayRef<Point> points) const {
  size_t columns = plan.vectorDim && !plan.lanesReduce
                       ? counts[*plan.vectorDim]
                       : 1;
  size_t rows = points.size() / columns;
  SmallVector<size_t> order;
  if (rows > 2 * columns) {
    llvm::append_range(order, llvm::seq<size_t>(0, points.size()));
    return order;
  }
  for (size_t column = 0; column < columns; ++column)
    for (size_t row = 0; row < rows; ++row)
      order.push_back(row * columns + column);
  return order;
}

SmallVector<Value> NestEmitter::evaluate(ArrayRef<Point> points,
                                         ArrayRef<Value> accumulators) {
  body.startBody();
  SmallVector<Value> results(accumulators.size());
  size_t width = kernel.outputs.size();
  for (size_t index : evaluationOrder(points)) {
    ArrayRef<Value> previous = accumulators.slice(index * width, width);
    SmallVector<Value> values = body.evaluate(points[index], previous);
    for (size_t i = 0; i < width; ++i) {
      Value value = values[i];
      if (isa<VectorType>(previous[i].getType()))
        value = body.toVector(value);
      if (plan.lanesReduce)
        value = body.keepMasked(value, previous[i]);
      results[index * width + i] = value;
    }
  }
  return results;
}

/// A loop along `dim` that carries the accumulators.
SmallVector<Value> NestEmitter::emitLoop(Value from, Value to, int64_t step,
                                         unsigned dim,
                                         SmallVector<Value> accumulators,
                                         EmitAccumulators emit) {
  auto loop = scf::ForOp::create(builder, loc, from, to, constant(step),
                                 accumulators);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(loop.getBody());
  body.setDim(dim, loop.getInductionVar(), 1);
  SmallVector<Value> results =
      emit(llvm::to_vector_of<Value>(loop.getRegionIterArgs()));
  scf::YieldOp::create(builder, loc, results);
  return llvm::to_vector_of<Value>(loop.getResults());
}

SmallVector<Value> NestEmitter::emitReduction(ArrayRef<unsigned> dims,
                                              ArrayRef<Point> points,
                                              SmallVector<Value> accumulators) {
  if (dims.empty())
    return plan.lanesReduce ? emitLaneReduction(points, accumulators)
                            : evaluate(points, accumulators);
  unsigned dim = dims.front();
  return emitLoop(lower[dim], upper[dim], 1, dim, std::move(accumulators),
                  [&](SmallVector<Value> inner) {
                    return emitReduction(dims.drop_front(), points,
                                         std::move(inner));
                  });
}

SmallVector<Value>
NestEmitter::emitLaneReduction(ArrayRef<Point> points,
                               SmallVector<Value> accumulators) {
  unsigned dim = *plan.vectorDim;
  Value done = isStatic(dim) ? constant(extents[dim] / kLanes * kLanes)
                             : alignedEnd(dim, kLanes);
  if (!isStatic(dim) || extents[dim] >= kLanes)
    accumulators = emitLoop(lower[dim], done, kLanes, dim,
                            std::move(accumulators),
                            [&](SmallVector<Value> inner) {
                              return evaluate(points, inner);
                            });
  if (isStatic(dim) && extents[dim] % kLanes == 0)
    return accumulators;

  auto emitTail = [&] {
    Value count = arith::SubIOp::create(builder, loc, upper[dim], done);
    auto type = VectorType::get({kLanes}, builder.getI1Type());
    body.setDim(dim, done, 1);
    body.setMask(
        vector::CreateMaskOp::create(builder, loc, type, ValueRange{count}),
        upper[dim]);
    SmallVector<Value> results = evaluate(points, accumulators);
    body.setMask(nullptr, nullptr);
    return results;
  };
  if (isStatic(dim))
    return emitTail();
  Value hasTail = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt,
                                        done, upper[dim]);
  auto branch = scf::IfOp::create(
      builder, loc, hasTail,
      [&](OpBuilder &, Location) {
        OpBuilder::InsertionGuard guard(builder);
        scf::YieldOp::create(builder, loc, emitTail());
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(builder, loc, accumulators);
      });
  return llvm::to_vector_of<Value>(branch.getResults());
}

/// Lanes that have not taken up anything.
Value NestEmitter::neutralLanes(const Combiner &combiner) {
  Type element = combiner.op->getResult(0).getType();
  Attribute neutral = isa<math::FmaOp>(combiner.op)
                          ? Attribute(builder.getFloatAttr(element, 0.0))
                          : Attribute(*arith::getNeutralElement(combiner.op));
  auto type = VectorType::get({kLanes}, element);
  return arith::ConstantOp::create(builder, loc,
                                   DenseElementsAttr::get(type, neutral));
}

/// Joins two partial results as the body joins the accumulator and a value.
Value NestEmitter::combine(const Combiner &combiner, Value left, Value right) {
  if (isa<math::FmaOp>(combiner.op))
    return arith::AddFOp::create(builder, loc, left, right);
  bool leftFirst = llvm::is_contained(
      llvm::map_range(kernel.outputs,
                      [](const Access &access) -> Value {
                        return access.argument;
                      }),
      combiner.op->getOperand(0));
  IRMapping mapping;
  mapping.map(combiner.op->getOperand(0), leftFirst ? left : right);
  mapping.map(combiner.op->getOperand(1), leftFirst ? right : left);
  Operation *op = builder.clone(*combiner.op, mapping);
  op->getResult(0).setType(left.getType());
  return op->getResult(0);
}

/// Halves the lanes, upper half onto lower, until one value is left.
Value NestEmitter::closeTree(const Combiner &combiner, Value lanes) {
  for (int64_t width = kLanes / 2; width > 1; width /= 2) {
    Value low = vector::ExtractStridedSliceOp::create(
        builder, loc, lanes, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{width},
        ArrayRef<int64_t>{1});
    Value high = vector::ExtractStridedSliceOp::create(
        builder, loc, lanes, ArrayRef<int64_t>{width}, ArrayRef<int64_t>{width},
        ArrayRef<int64_t>{1});
    lanes = combine(combiner, low, high);
  }
  Value first = vector::ExtractOp::create(builder, loc, lanes, int64_t(0));
  Value second = vector::ExtractOp::create(builder, loc, lanes, int64_t(1));
  return combine(combiner, first, second);
}

//===----------------------------------------------------------------------===//
// Entry
//===----------------------------------------------------------------------===//

/// Loops over all dimensions in their order, everything in memory: for outputs that are
/// written at several points.
void NestEmitter::emitMemoryForm(unsigned dim) {
  if (dim < extents.size()) {
    auto loop =
        scf::ForOp::create(builder, loc, lower[dim], upper[dim], constant(1));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    body.setDim(dim, loop.getInductionVar(), 1);
    return emitMemoryForm(dim + 1);
  }
  Point point(extents.size(), 0);
  body.startBody();
  SmallVector<Value> results = body.evaluate(point, {});
  for (auto [result, access] : llvm::zip_equal(results, kernel.outputs))
    body.store(result, access, point);
}

void NestEmitter::run(bool parallel) {
  if (!kernel.hasRegisterForm())
    return emitMemoryForm(0);
  if (parallel && emitChunks())
    return;
  emitDim(0);
}

void mlir::moe::vectorize::emitKernel(OpBuilder &builder, const Kernel &kernel,
                                      const Plan &plan, bool parallel) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(kernel.op);
  NestEmitter(builder, kernel, plan).run(parallel);
}
