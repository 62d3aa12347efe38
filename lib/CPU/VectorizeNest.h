//===- VectorizeNest.h - the loop nest of one kernel -------------*- C++
//-*-===//
//
// Builds the loops that a plan describes: VectorizeLoops.cpp the parallel ones,
// VectorizeReduction.cpp what stands inside of them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_VECTORIZENEST_H
#define MOE_CPU_VECTORIZENEST_H

#include "VectorizeBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace mlir::moe::vectorize {

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
  int64_t iterationsWithout(unsigned dim, int64_t guess) const;
  unsigned chooseChunkDim(int64_t &guess) const;
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
  void emitPrefetches(ArrayRef<Point> points);
  SmallVector<size_t> evaluationOrder(ArrayRef<Point> points) const;
  Value neutralLanes(const Combiner &combiner);
  Value combine(const Combiner &combiner, Value left, Value right);
  Value closeTrees(const Combiner &combiner, SmallVector<Value> vectors);
  Value closeTree(const Combiner &combiner, Value lanes);
  void storeReductions(ArrayRef<Point> points, ArrayRef<Value> accumulators);
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

} // namespace mlir::moe::vectorize

#endif // MOE_CPU_VECTORIZENEST_H
