//===- VectorizeReduction.cpp - blocks of points and reductions -----------===//
//
// Emits the innermost part of a nest: the points of a block, their accumulators
// in registers, the reduction loops, and the tree that closes partial results
// in lanes.
//
//===----------------------------------------------------------------------===//

#include "VectorizeNest.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <set>

using namespace mlir;
using namespace mlir::moe::vectorize;

/// How far ahead of its use a streamed operand is fetched, and in what pieces.
static constexpr int64_t kPrefetchBytes = 2048;
static constexpr int64_t kLineBytes = 64;

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
  if (plan.lanesReduce)
    return storeReductions(points, accumulators);
  const Value *next = accumulators.begin();
  for (const Point &point : points)
    for (const Access &access : kernel.outputs)
      body.store(*next++, access, point);
}

/// Closes the trees of all points, and joins each result to its element. Points
/// that are neighbours in memory are loaded and stored together.
void NestEmitter::storeReductions(ArrayRef<Point> points,
                                  ArrayRef<Value> accumulators) {
  size_t width = kernel.outputs.size();
  for (auto [i, access] : llvm::enumerate(kernel.outputs)) {
    const Combiner &combiner = kernel.combiners[i];
    size_t run = 1;
    if (!kernel.parallelDims.empty()) {
      unsigned dim = kernel.parallelDims.back();
      if (access.isContiguousAlong(dim) && llvm::isPowerOf2_64(counts[dim]) &&
          counts[dim] <= kLanes)
        run = counts[dim];
    }
    for (size_t first = 0; first < points.size(); first += run) {
      SmallVector<Value> lanes;
      for (size_t point = first; point < first + run; ++point)
        lanes.push_back(accumulators[point * width + i]);
      body.storeRun(combine(combiner, body.loadRun(access, points[first], run),
                            closeTrees(combiner, lanes)),
                    access, points[first]);
    }
  }
}

/// What several rows of a block multiply with is fetched ahead: the products of
/// a step leave time for that. A single row does nothing but stream, which
/// hardware follows by itself.
void NestEmitter::emitPrefetches(ArrayRef<Point> points) {
  if (plan.lanesReduce || !plan.vectorDim)
    return;
  unsigned lanes = *plan.vectorDim, reduction = kernel.reductionDims.back();
  for (const Access &access : kernel.inputs) {
    if (!access.isContiguousAlong(lanes) || !access.dependsOn(reduction))
      continue;
    std::set<Point> loads;
    for (Point point : points) {
      for (unsigned dim : kernel.parallelDims)
        if (!access.dependsOn(dim))
          point[dim] = 0;
      loads.insert(point);
    }
    if (points.size() < 2 * loads.size())
      continue;
    Type element = access.argument.getType();
    int64_t bits = element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
    int64_t bytes = kLanes * bits / 8;
    for (const Point &point : loads)
      if (point[lanes] * bytes % kLineBytes == 0)
        body.prefetch(access, point, reduction,
                      kPrefetchBytes / (bytes * counts[lanes]));
  }
}

/// Row by row a block keeps one row of vectors at hand, column by column one
/// broadcast element for each row: the shorter way leaves registers free.
SmallVector<size_t> NestEmitter::evaluationOrder(ArrayRef<Point> points) const {
  size_t columns =
      plan.vectorDim && !plan.lanesReduce ? counts[*plan.vectorDim] : 1;
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
  emitPrefetches(points);
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
  auto loop =
      scf::ForOp::create(builder, loc, from, to, constant(step), accumulators);
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
    accumulators = emitLoop(
        lower[dim], done, kLanes, dim, std::move(accumulators),
        [&](SmallVector<Value> inner) { return evaluate(points, inner); });
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
  bool leftFirst =
      llvm::is_contained(llvm::map_range(kernel.outputs,
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

/// Halves the lanes of each vector, upper half onto lower, until one value is
/// left of each: all values in one vector, or the value alone. Vectors are
/// halved two by two, a pair in the room of one, so that a step costs two
/// shuffles for two vectors and works on full registers.
Value NestEmitter::closeTrees(const Combiner &combiner,
                              SmallVector<Value> vectors) {
  if (vectors.size() == 1)
    return closeTree(combiner, vectors.front());
  for (int64_t part = kLanes; part > 1; part /= 2) {
    SmallVector<Value> halved;
    for (size_t i = 0; i < vectors.size(); i += 2) {
      bool paired = i + 1 < vectors.size();
      Value left = vectors[i], right = paired ? vectors[i + 1] : left;
      int64_t size = cast<VectorType>(left.getType()).getNumElements();
      SmallVector<int64_t> low, high;
      for (int64_t lane = 0; lane < (paired ? 2 : 1) * size; ++lane)
        (lane % part < part / 2 ? low : high).push_back(lane);
      auto shuffle = [&](ArrayRef<int64_t> mask) -> Value {
        return vector::ShuffleOp::create(builder, loc, left, right, mask);
      };
      halved.push_back(combine(combiner, shuffle(low), shuffle(high)));
    }
    vectors = std::move(halved);
  }
  return vectors.front();
}

/// The same for one vector.
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
