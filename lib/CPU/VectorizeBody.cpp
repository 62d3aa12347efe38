//===- VectorizeBody.cpp - loads, body and stores of a kernel
//--------------===//
//
// Emits one evaluation of a linalg body. Values that several points of a block
// share (a loaded row, a broadcast element) are emitted once.
//
//===----------------------------------------------------------------------===//

#include "VectorizeBody.h"

#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::moe::vectorize;

BodyEmitter::BodyEmitter(OpBuilder &builder, const Kernel &kernel,
                         const Plan &plan)
    : builder(builder), loc(kernel.loc), kernel(kernel), plan(plan),
      places(kernel.extents.size()) {}

VectorType BodyEmitter::vectorOf(Type element) const {
  return VectorType::get({kLanes}, element);
}

void BodyEmitter::setDim(unsigned dim, Value base, int64_t count) {
  int64_t step = plan.vectorDim == dim ? kLanes : 1;
  places[dim].assign(1, base);
  for (int64_t offset = 1; offset < count; ++offset) {
    Value distance =
        arith::ConstantIndexOp::create(builder, loc, offset * step);
    places[dim].push_back(arith::AddIOp::create(builder, loc, base, distance));
  }
}

void BodyEmitter::setMask(Value mask, Value limit) {
  this->mask = mask;
  this->limit = limit;
}

bool BodyEmitter::isPaired() const {
  return plan.pairedVectors && !mask &&
         places[*plan.vectorDim].size() % plan.pairedVectors == 0;
}

BodyEmitter::Key BodyEmitter::keyOf(Value value, DimSet dims,
                                    const Point &point) const {
  Point shared = point;
  for (auto [dim, offset] : llvm::enumerate(shared))
    if (dim < kMaxDims && !(dims & dimBit(dim)))
      offset = 0;
  return {value.getAsOpaquePointer(), shared};
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

SmallVector<Value> BodyEmitter::indices(const Access &access,
                                        const Point &point) {
  SmallVector<Value> dims, result;
  // Outputs are accessed outside of the reduction loops, which have no index
  // there.
  for (auto [dim, offset] : llvm::enumerate(point))
    dims.push_back(places[dim].empty() ? Value() : places[dim][offset]);
  for (AffineExpr expr : access.map.getResults())
    result.push_back(
        affine::expandAffineExpr(builder, loc, expr, dims, ValueRange()));
  return result;
}

/// Masked accesses of 16-bit floats would be taken apart by way of float, with
/// a library call for each bf16. Their lanes are moved one by one, as integers.
static bool needsLaneAccess(Type element) {
  return isa<Float16Type, BFloat16Type>(element);
}

Value BodyEmitter::fromLanes(ArrayRef<Value> elements) {
  Type element = elements.front().getType();
  if (!needsLaneAccess(element))
    return vector::FromElementsOp::create(builder, loc, vectorOf(element),
                                          elements);
  SmallVector<Value> words;
  for (Value value : elements)
    words.push_back(
        arith::BitcastOp::create(builder, loc, builder.getI16Type(), value));
  Value vector = vector::FromElementsOp::create(
      builder, loc, vectorOf(builder.getI16Type()), words);
  return arith::BitcastOp::create(builder, loc, vectorOf(element), vector);
}

/// The distance of a lane from the first; lanes beyond the end stay on the last
/// element.
Value BodyEmitter::laneDistance(int64_t lane) {
  Value distance = arith::ConstantIndexOp::create(builder, loc, lane);
  if (!limit)
    return distance;
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value count = arith::SubIOp::create(builder, loc, limit,
                                      places[*plan.vectorDim].front());
  Value last = arith::SubIOp::create(builder, loc, count, one);
  return arith::MinSIOp::create(builder, loc, distance, last);
}

Value BodyEmitter::loadVector(Value memref, ValueRange indices) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  VectorType type = vectorOf(element);
  if (!mask)
    return vector::LoadOp::create(builder, loc, type, memref, indices);
  if (!needsLaneAccess(element)) {
    Value zero =
        arith::ConstantOp::create(builder, loc, builder.getZeroAttr(type));
    return vector::MaskedLoadOp::create(builder, loc, type, memref, indices,
                                        mask, zero);
  }
  SmallVector<Value> elements, at = llvm::to_vector(indices);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    at.back() =
        arith::AddIOp::create(builder, loc, indices.back(), laneDistance(lane));
    elements.push_back(memref::LoadOp::create(builder, loc, memref, at));
  }
  return fromLanes(elements);
}

void BodyEmitter::storeMasked(Value value, Value memref, ValueRange indices) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  if (!needsLaneAccess(element)) {
    vector::MaskedStoreOp::create(builder, loc, memref, indices, mask, value);
    return;
  }
  Value words = arith::BitcastOp::create(builder, loc,
                                         vectorOf(builder.getI16Type()), value);
  SmallVector<Value> at = llvm::to_vector(indices);
  // Lanes beyond the end write to the last element, which its own lane writes
  // after them.
  for (int64_t lane = kLanes - 1; lane >= 0; --lane) {
    Value word = vector::ExtractOp::create(builder, loc, words, lane);
    word = arith::BitcastOp::create(builder, loc, element, word);
    at.back() =
        arith::AddIOp::create(builder, loc, indices.back(), laneDistance(lane));
    memref::StoreOp::create(builder, loc, word, memref, at);
  }
}

/// Lane by lane, for operands that are not contiguous along the lanes.
Value BodyEmitter::loadGather(const Access &access, const Point &point) {
  SmallVector<Value> elements;
  Value &place = places[*plan.vectorDim][point[*plan.vectorDim]];
  Value base = place;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    Value distance = laneDistance(lane);
    place = arith::AddIOp::create(builder, loc, base, distance);
    elements.push_back(memref::LoadOp::create(builder, loc, access.operand,
                                              indices(access, point)));
    place = base;
  }
  return fromLanes(elements);
}

/// The even and then the odd elements of a run; in a run of two vectors, the
/// vector at `point` is one of these halves.
Value BodyEmitter::loadPaired(const Access &access, const Point &point) {
  unsigned lanes = *plan.vectorDim;
  bool two = plan.pairedVectors == 2;
  Point first = point;
  first[lanes] -= point[lanes] % plan.pairedVectors;
  Value low = loadVector(access.operand, indices(access, first)), high = low;
  if (two) {
    ++first[lanes];
    high = loadVector(access.operand, indices(access, first));
  }
  SmallVector<int64_t> elements;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    elements.push_back(two ? 2 * lane + point[lanes] % 2
                           : 2 * lane % kLanes + 2 * lane / kLanes);
  return vector::ShuffleOp::create(builder, loc, low, high, elements);
}

/// Stores a run once its last vector is there: points come in order.
void BodyEmitter::storePaired(Value value, const Access &access,
                              const Point &point) {
  unsigned lanes = *plan.vectorDim;
  bool two = plan.pairedVectors == 2;
  if (two && point[lanes] % 2 == 0) {
    storedEven = value;
    return;
  }
  Value even = two ? storedEven : value;
  for (int64_t part = 0; part < plan.pairedVectors; ++part) {
    // Element 2i of the run is even element i; odd elements follow after all
    // even ones.
    SmallVector<int64_t> elements;
    int64_t half = plan.pairedVectors * kLanes / 2;
    for (int64_t lane = 0; lane < kLanes; ++lane)
      elements.push_back((part * kLanes + lane) / 2 + lane % 2 * half);
    Point at = point;
    at[lanes] = point[lanes] - (plan.pairedVectors - 1) + part;
    Value row = vector::ShuffleOp::create(builder, loc, even, value, elements);
    vector::StoreOp::create(builder, loc, row, access.operand,
                            indices(access, at));
  }
}

Value BodyEmitter::load(const Access &access, const Point &point) {
  if (access.isScalar())
    return access.operand;
  if (!plan.vectorDim || !access.dependsOn(*plan.vectorDim))
    return memref::LoadOp::create(builder, loc, access.operand,
                                  indices(access, point));
  if (!access.isContiguousAlong(*plan.vectorDim))
    return loadGather(access, point);
  if (isPaired())
    return loadPaired(access, point);
  return loadVector(access.operand, indices(access, point));
}

void BodyEmitter::prefetch(const Access &access, const Point &point,
                           unsigned dim, int64_t distance) {
  Value here = places[dim].front();
  places[dim].front() = arith::AddIOp::create(
      builder, loc, here,
      arith::ConstantIndexOp::create(builder, loc, distance));
  memref::PrefetchOp::create(builder, loc, access.operand,
                             indices(access, point), /*isWrite=*/false,
                             /*localityHint=*/3, /*isDataCache=*/true);
  places[dim].front() = here;
}

void BodyEmitter::store(Value value, const Access &access, const Point &point) {
  if (!plan.vectorDim || !access.dependsOn(*plan.vectorDim)) {
    memref::StoreOp::create(builder, loc, value, access.operand,
                            indices(access, point));
    return;
  }
  value = toVector(value);
  if (mask) {
    storeMasked(value, access.operand, indices(access, point));
    return;
  }
  if (isPaired())
    return storePaired(value, access, point);
  vector::StoreOp::create(builder, loc, value, access.operand,
                          indices(access, point));
}

Value BodyEmitter::loadRun(const Access &access, const Point &point,
                           int64_t count) {
  if (count == 1)
    return load(access, point);
  auto type = VectorType::get({count}, access.argument.getType());
  return vector::LoadOp::create(builder, loc, type, access.operand,
                                indices(access, point));
}

void BodyEmitter::storeRun(Value value, const Access &access,
                           const Point &point) {
  if (!isa<VectorType>(value.getType()))
    return store(value, access, point);
  vector::StoreOp::create(builder, loc, value, access.operand,
                          indices(access, point));
}

//===----------------------------------------------------------------------===//
// Body
//===----------------------------------------------------------------------===//

Value BodyEmitter::toVector(Value value) {
  if (isa<VectorType>(value.getType()))
    return value;
  Value &vector = memo[{value.getAsOpaquePointer(), {}}];
  if (!vector)
    vector = vector::BroadcastOp::create(builder, loc,
                                         vectorOf(value.getType()), value);
  return vector;
}

Value BodyEmitter::keepMasked(Value value, Value previous) {
  if (!mask)
    return value;
  return arith::SelectOp::create(builder, loc, mask, value, previous);
}

Value BodyEmitter::laneIndices(unsigned dim, unsigned offset) {
  VectorType type = vectorOf(builder.getIndexType());
  SmallVector<int64_t> lanes = llvm::to_vector(llvm::seq<int64_t>(0, kLanes));
  Value numbers = arith::ConstantOp::create(builder, loc,
                                            builder.getIndexVectorAttr(lanes));
  Value base =
      vector::BroadcastOp::create(builder, loc, type, places[dim][offset]);
  return arith::AddIOp::create(builder, loc, base, numbers);
}

const Access *BodyEmitter::inputOf(Value value) const {
  for (const Access &access : kernel.inputs)
    if (access.argument == value)
      return &access;
  return nullptr;
}

Value BodyEmitter::lookup(Value value, const Point &point, IRMapping &mapping) {
  if (Value known = mapping.lookupOrNull(value))
    return known;
  const Access *access = inputOf(value);
  if (!access)
    return value;
  Value &loaded = memo[keyOf(value, access->dims, point)];
  if (!loaded)
    loaded = load(*access, point);
  mapping.map(value, loaded);
  return loaded;
}

/// A bf16 is the upper half of a float: in a word of two, one shift makes the
/// even element and one mask the odd one.
Value BodyEmitter::emitPairedWidening(const Access &access,
                                      const Point &point) {
  unsigned lanes = *plan.vectorDim;
  Point first = point;
  first[lanes] -= point[lanes] % plan.pairedVectors;
  int64_t width = plan.pairedVectors * kLanes / 2;
  auto words = VectorType::get({width}, builder.getI32Type());
  auto floats = VectorType::get({width}, builder.getF32Type());
  Value &pairs = memo[keyOf(access.argument, access.dims, first)];
  if (!pairs) {
    auto type = VectorType::get({2 * width}, builder.getBF16Type());
    Value row = vector::LoadOp::create(builder, loc, type, access.operand,
                                       indices(access, first));
    pairs = vector::BitCastOp::create(builder, loc, words, row);
  }
  auto splat = [&](uint32_t bits) -> Value {
    return arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(words, APInt(32, bits)));
  };
  auto even = [&]() -> Value {
    Value bits = arith::ShLIOp::create(builder, loc, pairs, splat(16));
    return arith::BitcastOp::create(builder, loc, floats, bits);
  };
  auto odd = [&]() -> Value {
    Value bits = arith::AndIOp::create(builder, loc, pairs, splat(0xFFFF0000u));
    return arith::BitcastOp::create(builder, loc, floats, bits);
  };
  if (plan.pairedVectors == 2)
    return point[lanes] % 2 == 0 ? even() : odd();
  SmallVector<int64_t> all = llvm::to_vector(llvm::seq<int64_t>(0, kLanes));
  Value first8 = even();
  return vector::ShuffleOp::create(builder, loc, first8, odd(), all);
}

Value BodyEmitter::emitFused(const Combiner &combiner, const Point &point,
                             IRMapping &mapping) {
  Value product = combiner.product->getResult(0);
  unsigned position = combiner.op->getOperand(0) == product ? 1 : 0;
  SmallVector<Value> terms = {
      lookup(combiner.product->getOperand(0), point, mapping),
      lookup(combiner.product->getOperand(1), point, mapping),
      lookup(combiner.op->getOperand(position), point, mapping)};
  if (llvm::any_of(terms, [](Value v) { return isa<VectorType>(v.getType()); }))
    for (Value &term : terms)
      term = toVector(term);
  return math::FmaOp::create(builder, loc, terms[0], terms[1], terms[2]);
}

void BodyEmitter::emit(Operation &op, const Point &point, IRMapping &mapping) {
  if (auto index = dyn_cast<linalg::IndexOp>(op)) {
    unsigned dim = index.getDim();
    mapping.map(index.getResult(), plan.vectorDim == dim
                                       ? laneIndices(dim, point[dim])
                                       : places[dim][point[dim]]);
    return;
  }
  if (isa<arith::ExtFOp>(op) && isPaired())
    if (const Access *access = inputOf(op.getOperand(0)))
      if (access->dependsOn(*plan.vectorDim)) {
        mapping.map(op.getResult(0), emitPairedWidening(*access, point));
        return;
      }
  if (plan.vectorDim && isContiguousBodyLoad(&op, kernel, *plan.vectorDim)) {
    auto load = cast<memref::LoadOp>(op);
    SmallVector<Value> at;
    for (Value index : load.getIndices().drop_back())
      at.push_back(lookup(index, point, mapping));
    at.push_back(places[*plan.vectorDim][point[*plan.vectorDim]]);
    mapping.map(load.getResult(), loadVector(load.getMemRef(), at));
    return;
  }

  op.walk([&](Operation *nested) {
    for (Value operand : nested->getOperands())
      if (Value value = lookup(operand, point, mapping); value != operand)
        mapping.map(operand, value);
  });
  bool isVector = llvm::any_of(op.getOperands(), [&](Value operand) {
    return isa<VectorType>(mapping.lookupOrDefault(operand).getType());
  });
  if (isVector && op.getNumRegions() == 0) {
    IRMapping operands;
    for (Value operand : op.getOperands())
      operands.map(operand, toVector(mapping.lookupOrDefault(operand)));
    Operation *clone = builder.clone(op, operands);
    for (auto [result, emitted] :
         llvm::zip_equal(op.getResults(), clone->getResults())) {
      emitted.setType(vectorOf(result.getType()));
      mapping.map(result, emitted);
    }
    return;
  }
  Operation *clone = builder.clone(op, mapping);
  clone->walk([&](linalg::IndexOp index) {
    index.replaceAllUsesWith(places[index.getDim()][point[index.getDim()]]);
    index.erase();
  });
}

SmallVector<Value> BodyEmitter::evaluate(const Point &point,
                                         ValueRange accumulators) {
  IRMapping mapping;
  for (auto [index, access] : llvm::enumerate(kernel.outputs)) {
    if (!accumulators.empty())
      mapping.map(access.argument, accumulators[index]);
    else if (!access.argument.use_empty())
      mapping.map(access.argument, load(access, point));
  }

  for (Operation &op : kernel.body->without_terminator()) {
    bool isFusedProduct = false;
    const Combiner *fused = nullptr;
    for (const Combiner &combiner : kernel.combiners) {
      isFusedProduct |= combiner.product == &op;
      if (combiner.product && combiner.op == &op)
        fused = &combiner;
    }
    if (isFusedProduct)
      continue;
    if (fused) {
      mapping.map(op.getResult(0), emitFused(*fused, point, mapping));
      continue;
    }
    // Other points may have computed the same already.
    bool known = op.getNumResults() > 0;
    for (Value result : op.getResults()) {
      auto it = memo.find(keyOf(result, kernel.dimsOf(result), point));
      known &= it != memo.end();
      if (known)
        mapping.map(result, it->second);
    }
    if (known)
      continue;
    emit(op, point, mapping);
    for (Value result : op.getResults())
      memo[keyOf(result, kernel.dimsOf(result), point)] =
          mapping.lookup(result);
  }

  SmallVector<Value> results;
  for (Value value : kernel.body->getTerminator()->getOperands())
    results.push_back(lookup(value, point, mapping));
  return results;
}
