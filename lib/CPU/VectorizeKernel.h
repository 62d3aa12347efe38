//===- VectorizeKernel.h - what the vectoriser knows of an op ----*- C++
//-*-===//
//
// The facts about one linalg.generic on buffers that decide how its loops look,
// and the plan that follows from them. Shared by the Vectorize*.cpp files.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CPU_VECTORIZEKERNEL_H
#define MOE_CPU_VECTORIZEKERNEL_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/DenseMap.h"
#include <optional>

namespace mlir::moe::vectorize {

/// Logical lanes of every vector, on every target: results must not depend on
/// it.
constexpr int64_t kLanes = 16;

/// A set of loop dimensions.
using DimSet = uint64_t;
constexpr unsigned kMaxDims = 64;
inline DimSet dimBit(unsigned dim) { return DimSet(1) << dim; }

/// One operand of the op: a buffer with its indexing map, or a scalar.
struct Access {
  Value operand;
  AffineMap map;
  BlockArgument argument;
  DimSet dims = 0;
  /// Neighbours along the last dimension are neighbours in memory, and the
  /// element type is one that vector loads hold unpacked.
  bool contiguous = false;

  bool isScalar() const { return !isa<MemRefType>(operand.getType()); }
  bool dependsOn(unsigned dim) const { return dims & dimBit(dim); }
  /// Stepping `dim` by one steps the address by one element.
  bool isContiguousAlong(unsigned dim) const;
};

/// How the accumulator of one output takes up the value of one iteration.
struct Combiner {
  /// The op that combines, null where the body is of no known form. A fused
  /// multiply-add whose addend is the accumulator counts as a sum.
  Operation *op = nullptr;
  /// The product that feeds a sum: both become one fused multiply-add.
  Operation *product = nullptr;
};

struct Kernel {
  explicit Kernel(linalg::GenericOp op);

  Operation *op;
  Block *body;
  Location loc;
  SmallVector<Access> inputs, outputs;
  SmallVector<Combiner> combiners;
  SmallVector<unsigned> parallelDims, reductionDims;
  /// Static number of iterations or ShapedType::kDynamic.
  SmallVector<int64_t> extents;
  /// Loop dimensions that each value of the body depends on.
  llvm::DenseMap<Value, DimSet> bodyDims;

  /// Each output element is written at one point of the parallel loops, so that
  /// its accumulator can live in a register.
  bool hasRegisterForm() const;
  /// All ops of the body have a vector form with `dim` in lanes.
  bool canVectorizeAlong(unsigned dim) const;
  DimSet dimsOf(Value value) const { return bodyDims.lookup(value); }

private:
  void collectBodyDims();
  void collectCombiners();
};

/// Where a memref.load in a body can be one vector load: the last index is the
/// lane dimension itself and the buffer is contiguous.
bool isContiguousBodyLoad(Operation *op, const Kernel &kernel, unsigned dim);

struct Plan {
  /// Dimension in lanes; none for scalar loops.
  std::optional<unsigned> vectorDim;
  /// The lanes are partial results of a reduction.
  bool lanesReduce = false;
  /// Points (of the vector dimension: vectors) done at once, per dimension.
  SmallVector<int64_t> block;
  /// Parallel dimensions from outermost to innermost.
  SmallVector<unsigned> order;
  /// A run of bf16 values is widened by one shift (its even elements) and one
  /// mask (its odd elements) where plain widening needs two shuffles and two
  /// shifts. The run is this many vectors, 1 or 2; 0 widens plainly.
  int64_t pairedVectors = 0;
};

Plan makePlan(const Kernel &kernel, int64_t accumulators);

/// Emits the loops of `kernel` before it. With `parallel`, large ones are split
/// into chunks by a parallel loop.
void emitKernel(OpBuilder &builder, const Kernel &kernel, const Plan &plan,
                bool parallel);

} // namespace mlir::moe::vectorize

#endif // MOE_CPU_VECTORIZEKERNEL_H
