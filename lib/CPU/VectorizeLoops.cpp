//===- VectorizeLoops.cpp - the loops around a kernel
//----------------------===//
//
// Builds the loop nest that a plan describes: chunks over threads, blocks of
// parallel dimensions, vectors with a masked tail, and the reduction inside.
//
//===----------------------------------------------------------------------===//

#include "VectorizeNest.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe::vectorize;

/// Iterations that make a chunk worth a thread's while, and the guess for a
/// dynamic dimension when counting them.
static constexpr int64_t kChunkIterations = 32768;
static constexpr int64_t kDynamicGuess = 256;

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

/// Iterations of all dimensions but one, up to those of a chunk; dynamic
/// dimensions count as `guess`.
int64_t NestEmitter::iterationsWithout(unsigned dim, int64_t guess) const {
  int64_t product = 1;
  for (auto [other, extent] : llvm::enumerate(extents)) {
    if (other == dim)
      continue;
    int64_t count =
        isStatic(other) ? std::min(extent, kChunkIterations) : guess;
    product = std::min(kChunkIterations, product * std::max<int64_t>(1, count));
  }
  return product;
}

/// The dimension to split: the first, unless that is dynamic and may be a
/// single row of a product which alone is worth several threads.
unsigned NestEmitter::chooseChunkDim(int64_t &guess) const {
  unsigned first = kernel.parallelDims.front(), best = first;
  guess = kDynamicGuess;
  if (isStatic(first) || kernel.reductionDims.empty())
    return first;
  for (unsigned dim : kernel.parallelDims) {
    if (!isStatic(dim) || (isStatic(best) && extents[dim] <= extents[best]))
      continue;
    int64_t chunk =
        llvm::divideCeil(kChunkIterations, iterationsWithout(dim, 1));
    if (extents[dim] / 4 < chunk)
      continue;
    best = dim;
    guess = 1;
  }
  return best;
}

/// Splits a parallel dimension over threads if one chunk is not all there is.
bool NestEmitter::emitChunks() {
  if (kernel.parallelDims.empty())
    return false;
  int64_t guess;
  unsigned dim = chooseChunkDim(guess);
  int64_t inner = iterationsWithout(dim, guess);
  int64_t unit = plan.block[dim] * (plan.vectorDim == dim ? kLanes : 1);
  int64_t chunk =
      llvm::alignTo(llvm::divideCeil(kChunkIterations, inner), unit);
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
  auto tail =
      scf::IfOp::create(builder, loc, hasTail, /*withElseRegion=*/false);
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
// Entry
//===----------------------------------------------------------------------===//

/// Loops over all dimensions in their order, everything in memory: for outputs
/// that are written at several points.
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
