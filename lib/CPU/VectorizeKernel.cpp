//===- VectorizeKernel.cpp - analysis and plan of one op
//-------------------===//
//
// Reads off a linalg.generic how its operands lie in memory and how its body
// accumulates, and decides which dimension goes in lanes and what is blocked.
//
//===----------------------------------------------------------------------===//

#include "VectorizeKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace mlir::moe::vectorize;

/// Vector loads hold elements of whole bytes; i1 lies unpacked in memory only.
static bool isVectorElement(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return integer.getWidth() >= 8 && integer.getWidth() <= 64 &&
           llvm::isPowerOf2_32(integer.getWidth());
  return isa<IndexType, Float16Type, BFloat16Type, Float32Type, Float64Type>(
      type);
}

static bool isUnitStride(MemRefType type) {
  return type.getRank() > 0 && type.areTrailingDimsContiguous(1) &&
         isVectorElement(type.getElementType());
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

bool Access::isContiguousAlong(unsigned dim) const {
  if (!contiguous || !dependsOn(dim))
    return false;
  for (AffineExpr expr : map.getResults().drop_back())
    if (expr.isFunctionOfDim(dim))
      return false;
  AffineExpr last = map.getResults().back();
  AffineExpr self = getAffineDimExpr(dim, map.getContext());
  AffineExpr start =
      last.replace(self, getAffineConstantExpr(0, map.getContext()));
  return simplifyAffineExpr(last - start, map.getNumDims(), 0) == self;
}

static Access makeAccess(OpOperand *operand, linalg::GenericOp op) {
  Access access;
  access.operand = operand->get();
  access.map = op.getMatchingIndexingMap(operand);
  access.argument = op.getMatchingBlockArgument(operand);
  for (unsigned dim = 0; dim < access.map.getNumDims() && dim < kMaxDims; ++dim)
    if (access.map.isFunctionOfDim(dim))
      access.dims |= dimBit(dim);
  auto type = dyn_cast<MemRefType>(access.operand.getType());
  access.contiguous = type && isUnitStride(type);
  return access;
}

Kernel::Kernel(linalg::GenericOp op)
    : op(op), body(op.getBody()), loc(op.getLoc()) {
  for (OpOperand *operand : op.getDpsInputOperands())
    inputs.push_back(makeAccess(operand, op));
  for (OpOperand &operand : op.getDpsInitsMutable())
    outputs.push_back(makeAccess(&operand, op));
  for (auto [dim, type] : llvm::enumerate(op.getIteratorTypesArray()))
    (type == utils::IteratorType::parallel ? parallelDims : reductionDims)
        .push_back(dim);
  extents = op.getStaticLoopRanges();
  collectBodyDims();
  collectCombiners();
}

void Kernel::collectBodyDims() {
  for (const Access &access : llvm::concat<Access>(inputs, outputs))
    bodyDims[access.argument] = access.dims;
  // An accumulator differs from point to point of the parallel loops.
  DimSet points = 0;
  for (unsigned dim : parallelDims)
    if (dim < kMaxDims)
      points |= dimBit(dim);
  for (const Access &access : outputs)
    bodyDims[access.argument] |= points;
  for (Operation &operation : body->without_terminator()) {
    DimSet dims = 0;
    operation.walk([&](Operation *nested) {
      for (Value operand : nested->getOperands())
        dims |= dimsOf(operand);
      if (auto index = dyn_cast<linalg::IndexOp>(nested))
        if (index.getDim() < kMaxDims)
          dims |= dimBit(index.getDim());
    });
    for (Value result : operation.getResults())
      bodyDims[result] = dims;
  }
}

void Kernel::collectCombiners() {
  auto yield = cast<linalg::YieldOp>(body->getTerminator());
  for (auto [access, yielded] : llvm::zip_equal(outputs, yield.getOperands())) {
    Combiner &combiner = combiners.emplace_back();
    Operation *combine = yielded.getDefiningOp();
    if (reductionDims.empty() || !combine || combine->getBlock() != body ||
        combine->getNumResults() != 1 || !combine->hasOneUse() ||
        !access.argument.hasOneUse() ||
        *access.argument.user_begin() != combine)
      continue;
    if (auto fma = dyn_cast<math::FmaOp>(combine)) {
      if (fma.getC() == access.argument)
        combiner.op = combine;
      continue;
    }
    if (combine->getNumOperands() != 2 || !arith::getNeutralElement(combine))
      continue;
    combiner.op = combine;
    // Fused multiply-add exists for these types; others would be emulated.
    if (!isa<arith::AddFOp>(combine) ||
        !(yielded.getType().isF32() || yielded.getType().isF64()))
      continue;
    Value element = combine->getOperand(0) == access.argument
                        ? combine->getOperand(1)
                        : combine->getOperand(0);
    auto product = element.getDefiningOp<arith::MulFOp>();
    if (product && product->hasOneUse() && product->getBlock() == body)
      combiner.product = product;
  }
}

//===----------------------------------------------------------------------===//
// Legality
//===----------------------------------------------------------------------===//

bool Kernel::hasRegisterForm() const {
  if (extents.size() > kMaxDims)
    return false;
  for (const Access &access : outputs) {
    for (unsigned dim : reductionDims)
      if (access.dependsOn(dim))
        return false;
    if (!access.map.isProjectedPermutation(/*allowZeroInResults=*/true))
      return false;
    for (unsigned dim : parallelDims)
      if (!access.dependsOn(dim) && extents[dim] != 1)
        return false;
  }
  return true;
}

bool mlir::moe::vectorize::isContiguousBodyLoad(Operation *op,
                                                const Kernel &kernel,
                                                unsigned dim) {
  auto load = dyn_cast<memref::LoadOp>(op);
  if (!load || load.getIndices().empty() || !isUnitStride(load.getMemRefType()))
    return false;
  for (Value index : load.getIndices().drop_back())
    if (kernel.dimsOf(index) & dimBit(dim))
      return false;
  auto last = load.getIndices().back().getDefiningOp<linalg::IndexOp>();
  return last && last.getDim() == dim;
}

/// Whether the op may trap on some values: an integer division. MLIR says so of
/// some of them only.
static bool mayTrap(Operation *op) {
  return !isSpeculatable(op) ||
         isa<arith::FloorDivSIOp, arith::RemSIOp, arith::RemUIOp>(op);
}

bool Kernel::canVectorizeAlong(unsigned dim) const {
  for (const Access &access : llvm::concat<const Access>(inputs, outputs))
    if (!VectorType::isValidElementType(access.argument.getType()))
      return false;
  for (Operation &operation : body->without_terminator()) {
    if (operation.getNumRegions() != 0)
      return false;
    if (isa<linalg::IndexOp>(operation))
      continue;
    bool uniform = true;
    for (Value result : operation.getResults())
      uniform &= !(dimsOf(result) & dimBit(dim));
    if (isa<memref::LoadOp>(operation)) {
      if (!uniform && !isContiguousBodyLoad(&operation, *this, dim))
        return false;
      continue;
    }
    if (!isMemoryEffectFree(&operation))
      return false;
    if (uniform && operation.getNumResults() > 0)
      continue;
    // Lanes beyond the end compute on zeros.
    if (!OpTrait::hasElementwiseMappableTraits(&operation) ||
        mayTrap(&operation))
      return false;
    for (Type type : operation.getResultTypes())
      if (!VectorType::isValidElementType(type))
        return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

/// The parallel dimension for the lanes: contiguous in every output, and in as
/// many inputs as possible. `strided` counts inputs that need a gather.
static std::optional<unsigned> chooseParallelLanes(const Kernel &kernel,
                                                   unsigned &contiguous,
                                                   unsigned &strided) {
  std::optional<unsigned> best;
  for (unsigned dim : kernel.parallelDims) {
    if (!llvm::all_of(kernel.outputs, [&](const Access &access) {
          return access.isContiguousAlong(dim);
        }))
      continue;
    unsigned along = 0, across = 0;
    for (const Access &access : kernel.inputs) {
      if (!access.dependsOn(dim))
        continue;
      ++(access.isContiguousAlong(dim) ? along : across);
    }
    if (!best || across < strided ||
        (across == strided && along > contiguous)) {
      best = dim;
      contiguous = along;
      strided = across;
    }
  }
  return best;
}

/// The reduction dimension for the lanes: contiguous in every input that has
/// it.
static std::optional<unsigned> chooseReductionLanes(const Kernel &kernel) {
  for (const Combiner &combiner : kernel.combiners)
    if (!combiner.op)
      return std::nullopt;
  for (unsigned dim : llvm::reverse(kernel.reductionDims)) {
    bool any = false, all = true;
    for (const Access &access : kernel.inputs) {
      if (!access.dependsOn(dim))
        continue;
      any = true;
      all &= access.isContiguousAlong(dim);
    }
    if (any && all && kernel.canVectorizeAlong(dim))
      return dim;
  }
  return std::nullopt;
}

/// From here on, vectors of 16 floats are single registers, of which there
/// are 32.
static constexpr int64_t kManyAccumulators = 12;

/// Splits `count` in equal parts of at most `limit`.
static int64_t evenPart(int64_t count, int64_t limit) {
  if (ShapedType::isDynamic(count))
    return limit;
  if (count <= limit)
    return std::max<int64_t>(count, 1);
  int64_t parts = llvm::divideCeil(count, limit);
  return llvm::divideCeil(count, parts);
}

/// Some input has the same values at all points of `dim`: a block along it
/// loads them once.
static bool isReused(const Kernel &kernel, unsigned dim) {
  return llvm::any_of(kernel.inputs, [&](const Access &access) {
    return !access.dependsOn(dim);
  });
}

/// The vectors streamed along `lanes` are the same at all points of `dim`.
static bool areVectorsReused(const Kernel &kernel, unsigned dim,
                             unsigned lanes) {
  return llvm::none_of(kernel.inputs, [&](const Access &access) {
    return access.dependsOn(lanes) && access.dependsOn(dim);
  });
}

/// Blocks of a contraction with a parallel dimension in lanes: as many
/// accumulators as fit, vectors side by side first, then rows.
static void blockLanes(const Kernel &kernel, int64_t accumulators, Plan &plan) {
  accumulators /= std::max<size_t>(kernel.outputs.size(), 1);
  accumulators = std::max<int64_t>(accumulators, 1);
  unsigned lanes = *plan.vectorDim;
  int64_t rows = 1;
  for (unsigned dim : kernel.parallelDims) {
    if (dim == lanes || !areVectorsReused(kernel, dim, lanes))
      continue;
    int64_t extent = kernel.extents[dim];
    rows = ShapedType::isDynamic(extent)
               ? accumulators
               : std::min(accumulators, rows * std::max<int64_t>(extent, 1));
  }
  int64_t extent = kernel.extents[lanes];
  int64_t vectors =
      ShapedType::isDynamic(extent) ? ShapedType::kDynamic : extent / kLanes;
  int64_t wide = std::clamp<int64_t>(accumulators / rows, 1, 8);
  // Two columns of vectors load fewer elements of the left side, where there
  // are registers for both columns and enough rows.
  if (accumulators >= kManyAccumulators)
    wide = std::max<int64_t>(wide, 2);
  plan.block[lanes] = evenPart(vectors, wide);
  int64_t left = accumulators / plan.block[lanes];
  for (unsigned dim : llvm::reverse(kernel.parallelDims)) {
    if (dim == lanes || left < 2 || !isReused(kernel, dim))
      continue;
    plan.block[dim] = evenPart(kernel.extents[dim], left);
    left /= plan.block[dim];
  }
}

/// Blocks of a reduction in lanes: a few outputs at once hide the latency of
/// the chains.
static void blockReductions(const Kernel &kernel, int64_t accumulators,
                            Plan &plan) {
  int64_t left = accumulators < kManyAccumulators ? accumulators : 16;
  left /= std::max<size_t>(kernel.outputs.size(), 1);
  for (unsigned dim : llvm::reverse(kernel.parallelDims)) {
    if (left < 2)
      return;
    plan.block[dim] = evenPart(kernel.extents[dim], std::min<int64_t>(left, 4));
    left /= plan.block[dim];
  }
}

/// Whether all that the reduction streams along the lanes are bf16 values to be
/// widened.
static bool canPairWidening(const Kernel &kernel, const Plan &plan) {
  unsigned lanes = *plan.vectorDim;
  bool any = false;
  for (Operation &operation : kernel.body->without_terminator())
    if (auto index = dyn_cast<linalg::IndexOp>(operation))
      if (index.getDim() == lanes)
        return false;
  for (const Access &access : kernel.inputs) {
    if (!access.dependsOn(lanes))
      continue;
    if (!access.isContiguousAlong(lanes) ||
        !access.argument.getType().isBF16() || !access.argument.hasOneUse())
      return false;
    auto widen = dyn_cast<arith::ExtFOp>(*access.argument.user_begin());
    if (!widen || !widen.getType().isF32())
      return false;
    any = true;
  }
  for (const Access &access : kernel.outputs)
    if (!access.argument.getType().isF32())
      return false;
  for (Operation &operation : kernel.body->without_terminator())
    if (isa<memref::LoadOp>(operation))
      return false;
  return any;
}

Plan mlir::moe::vectorize::makePlan(const Kernel &kernel,
                                    int64_t accumulators) {
  Plan plan;
  plan.block.assign(kernel.extents.size(), 1);
  plan.order = kernel.parallelDims;
  if (!kernel.hasRegisterForm())
    return plan;

  unsigned contiguous = 0, strided = 0;
  std::optional<unsigned> lanes =
      chooseParallelLanes(kernel, contiguous, strided);
  if (lanes && !kernel.canVectorizeAlong(*lanes))
    lanes = std::nullopt;
  bool reduces = !kernel.reductionDims.empty();
  if (reduces && !(lanes && contiguous > 0 && strided == 0)) {
    if (std::optional<unsigned> dim = chooseReductionLanes(kernel)) {
      plan.vectorDim = dim;
      plan.lanesReduce = true;
      blockReductions(kernel, accumulators, plan);
      return plan;
    }
  }
  if (!lanes)
    return plan;
  plan.vectorDim = lanes;
  llvm::erase(plan.order, *lanes);
  if (!reduces) {
    plan.order.push_back(*lanes);
    return plan;
  }
  blockLanes(kernel, accumulators, plan);
  // Rows innermost: a column block of the streamed operand stays in cache for
  // all rows.
  SmallVector<unsigned> order, rows;
  for (unsigned dim : plan.order)
    (plan.block[dim] == 1 ? order : rows).push_back(dim);
  order.push_back(*lanes);
  order.append(rows);
  plan.order = std::move(order);
  int64_t run = accumulators < kManyAccumulators ? 1 : 2;
  if (plan.block[*lanes] % run == 0 && canPairWidening(kernel, plan))
    plan.pairedVectors = run;
  return plan;
}
