//===- VectorizeBody.h - emits the body of a kernel --------------*- C++
//-*-===//
//
// Evaluates the body of a linalg.generic at points of its iteration space, in
// scalars or with one dimension in lanes.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_VECTORIZEBODY_H
#define MOE_CPU_VECTORIZEBODY_H

#include "VectorizeKernel.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include <map>

namespace mlir::moe::vectorize {

/// The place of one point in a block: an offset per loop dimension.
using Point = SmallVector<unsigned>;

class BodyEmitter {
public:
  BodyEmitter(OpBuilder &builder, const Kernel &kernel, const Plan &plan);

  /// Sets the range of `dim` that the next evaluations work on: points
  /// base, base + step, ... one for each offset.
  void setDim(unsigned dim, Value base, int64_t count);
  /// Restricts the lanes to the first `limit - base` ones; null lifts it.
  void setMask(Value mask, Value limit);

  /// Forgets values shared between points. Required at every new place.
  void startBody() { memo.clear(); }
  /// The operand's element or vector at `point`.
  Value load(const Access &access, const Point &point);
  void store(Value value, const Access &access, const Point &point);
  /// `count` neighbours in memory from `point` on; one is a scalar.
  Value loadRun(const Access &access, const Point &point, int64_t count);
  void storeRun(Value value, const Access &access, const Point &point);
  /// Asks for what `point` will load `distance` steps further along `dim`.
  void prefetch(const Access &access, const Point &point, unsigned dim,
                int64_t distance);
  /// The yielded values at `point`. `accumulators` stand for the outputs; where
  /// there are none, outputs that the body reads are loaded.
  SmallVector<Value> evaluate(const Point &point, ValueRange accumulators);
  /// Keeps `previous` in lanes without a value.
  Value keepMasked(Value value, Value previous);
  Value toVector(Value value);

private:
  using Key = std::pair<void *, Point>;

  Key keyOf(Value value, DimSet dims, const Point &point) const;
  SmallVector<Value> indices(const Access &access, const Point &point);
  Value loadVector(Value memref, ValueRange indices);
  void storeMasked(Value value, Value memref, ValueRange indices);
  Value fromLanes(ArrayRef<Value> elements);
  Value laneDistance(int64_t lane);
  Value loadGather(const Access &access, const Point &point);
  Value loadPaired(const Access &access, const Point &point);
  void storePaired(Value value, const Access &access, const Point &point);
  Value laneIndices(unsigned dim, unsigned offset);
  void emit(Operation &op, const Point &point, IRMapping &mapping);
  Value emitFused(const Combiner &combiner, const Point &point,
                  IRMapping &mapping);
  Value emitPairedWidening(const Access &access, const Point &point);
  const Access *inputOf(Value value) const;
  /// The emitted form of a value of the body; operands are loaded on first use.
  Value lookup(Value value, const Point &point, IRMapping &mapping);
  bool isPaired() const;
  VectorType vectorOf(Type element) const;

  OpBuilder &builder;
  Location loc;
  const Kernel &kernel;
  const Plan &plan;
  /// Index of each dimension at each offset.
  SmallVector<SmallVector<Value>> places;
  Value mask, limit;
  std::map<Key, Value> memo;
  /// Even elements of a pair of vectors, until the odd ones are stored.
  Value storedEven;
};

} // namespace mlir::moe::vectorize

#endif // MOE_CPU_VECTORIZEBODY_H
