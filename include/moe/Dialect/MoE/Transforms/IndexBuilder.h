//===- IndexBuilder.h - Arithmetic on index values --------------*- C++ -*-===//
//
// Writes sizes and positions the way one thinks them; constants are folded on the way.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_INDEXBUILDER_H
#define MOE_DIALECT_MOE_TRANSFORMS_INDEXBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

namespace mlir::moe {

/// A location and a builder. Copies with another builder are made where a nested region is built.
struct IndexBuilder {
  OpBuilder &b;
  Location loc;

  Value constant(int64_t value) const { return arith::ConstantIndexOp::create(b, loc, value); }
  Value add(Value x, Value y) const { return b.createOrFold<arith::AddIOp>(loc, x, y); }
  Value sub(Value x, Value y) const { return b.createOrFold<arith::SubIOp>(loc, x, y); }
  Value mul(Value x, int64_t y) const { return b.createOrFold<arith::MulIOp>(loc, x, constant(y)); }
  Value min(Value x, Value y) const { return b.createOrFold<arith::MinSIOp>(loc, x, y); }
  Value max(Value x, Value y) const { return b.createOrFold<arith::MaxSIOp>(loc, x, y); }
  /// Operands of divisions are never negative here.
  Value ceilDiv(Value x, Value y) const {
    Value last = sub(add(x, y), constant(1));
    return b.createOrFold<arith::DivUIOp>(loc, last, y);
  }
  Value alignDown(Value x, int64_t unit) const {
    return mul(b.createOrFold<arith::DivUIOp>(loc, x, constant(unit)), unit);
  }
  Value alignUp(Value x, int64_t unit) const { return mul(ceilDiv(x, constant(unit)), unit); }

  Value extract(Value tensor, ValueRange indices) const {
    return tensor::ExtractOp::create(b, loc, tensor, indices);
  }
  Value insert(Value value, Value tensor, ValueRange indices) const {
    return tensor::InsertOp::create(b, loc, value, tensor, indices);
  }

  /// `source[offsets][sizes]`, unit strides, with the rank reduced to the last `rank` extents.
  Value slice(Value source, ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes, unsigned rank) const {
    SmallVector<OpFoldResult> strides(offsets.size(), b.getIndexAttr(1)), folded = fold(sizes);
    SmallVector<int64_t> shape;
    for (OpFoldResult size : ArrayRef(folded).take_back(rank))
      shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
    auto element = cast<RankedTensorType>(source.getType()).getElementType();
    return tensor::ExtractSliceOp::create(b, loc, RankedTensorType::get(shape, element), source, fold(offsets), folded,
                                          strides);
  }
  /// `target` with `source` at `offsets`.
  Value insertSlice(Value source, Value target, ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes) const {
    SmallVector<OpFoldResult> strides(offsets.size(), b.getIndexAttr(1));
    return tensor::InsertSliceOp::create(b, loc, source, target, fold(offsets), fold(sizes), strides);
  }

  using Body = llvm::function_ref<SmallVector<Value>(const IndexBuilder &, Value, ValueRange)>;
  /// `scf.for` from `from` to `to`; the body gives the next values of `inits`.
  SmallVector<Value> loop(Value from, Value to, int64_t step, ValueRange inits, Body body) const {
    auto loop = scf::ForOp::create(b, loc, from, to, constant(step), inits,
                                   [&](OpBuilder &nested, Location loc, Value iv, ValueRange values) {
                                     scf::YieldOp::create(nested, loc, body(IndexBuilder{nested, loc}, iv, values));
                                   });
    return SmallVector<Value>(loop.getResults());
  }

  /// Positions and sizes as operations on slices take them: constants are attributes.
  SmallVector<OpFoldResult> fold(ArrayRef<OpFoldResult> values) const {
    return llvm::map_to_vector(values, [](OpFoldResult value) -> OpFoldResult {
      auto dynamic = dyn_cast<Value>(value);
      return dynamic ? getAsOpFoldResult(dynamic) : value;
    });
  }
  OpFoldResult fold(Value value) const { return getAsOpFoldResult(value); }
  OpFoldResult attr(int64_t value) const { return b.getIndexAttr(value); }
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_INDEXBUILDER_H
