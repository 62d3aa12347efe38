//===- Builders.cpp - Small tensor programs -------------------------------===//
//
// Elementwise maps, row reductions and softmax as linalg.generic.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/Builders.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;

static Value buildGeneric(OpBuilder &builder, Location loc, ValueRange inputs, Value init, ArrayRef<AffineMap> maps,
                          ArrayRef<utils::IteratorType> iterators, moe::ScalarBody body) {
  return linalg::GenericOp::create(builder, loc, TypeRange{init.getType()}, inputs, ValueRange{init}, maps, iterators,
                                   [&](OpBuilder &b, Location loc, ValueRange arguments) {
                                     linalg::YieldOp::create(b, loc, body(b, loc, arguments));
                                   })
      .getResult(0);
}

Value moe::buildEmptyLike(OpBuilder &builder, Location loc, Value like, Type elementType) {
  auto type = cast<RankedTensorType>(like.getType());
  return tensor::EmptyOp::create(builder, loc, tensor::getMixedSizes(builder, loc, like),
                                 elementType ? elementType : type.getElementType());
}

Value moe::buildFilledLike(OpBuilder &builder, Location loc, Value like, TypedAttr value) {
  Value scalar = arith::ConstantOp::create(builder, loc, value);
  Value empty = buildEmptyLike(builder, loc, like, value.getType());
  return linalg::FillOp::create(builder, loc, scalar, empty).getResult(0);
}

Value moe::buildElementwise(OpBuilder &builder, Location loc, ValueRange inputs, ScalarBody body) {
  auto type = cast<RankedTensorType>(inputs[0].getType());
  SmallVector<AffineMap> maps(inputs.size() + 1, builder.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  return buildGeneric(builder, loc, inputs, buildEmptyLike(builder, loc, inputs[0]), maps, iterators, body);
}

Value moe::buildRowReduction(OpBuilder &builder, Location loc, Value input, TypedAttr init, ScalarBody body) {
  Value scalar = arith::ConstantOp::create(builder, loc, init);
  Value empty = tensor::EmptyOp::create(builder, loc, ArrayRef(tensor::getMixedSizes(builder, loc, input)).take_front(),
                                        init.getType());
  Value filled = linalg::FillOp::create(builder, loc, scalar, empty).getResult(0);
  AffineMap full = builder.getMultiDimIdentityMap(2);
  return buildGeneric(builder, loc, input, filled, {full, full.dropResult(1)},
                      {utils::IteratorType::parallel, utils::IteratorType::reduction}, body);
}

Value moe::buildWithRow(OpBuilder &builder, Location loc, Value input, Value row, ScalarBody body) {
  AffineMap full = builder.getMultiDimIdentityMap(2);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  return buildGeneric(builder, loc, {input, row}, buildEmptyLike(builder, loc, input),
                      {full, full.dropResult(1), full}, iterators, body);
}

Value moe::buildBoundedExtract(OpBuilder &builder, Location loc, Value table, Value index) {
  Value size = tensor::DimOp::create(builder, loc, table, 0);
  // As an unsigned number, a negative index is large.
  Value inside = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ult, index, size);
  auto choice = scf::IfOp::create(
      builder, loc, inside,
      [&](OpBuilder &b, Location loc) {
        scf::YieldOp::create(b, loc, tensor::ExtractOp::create(b, loc, table, index).getResult());
      },
      [&](OpBuilder &b, Location loc) {
        Type element = cast<RankedTensorType>(table.getType()).getElementType();
        scf::YieldOp::create(b, loc, arith::ConstantOp::create(b, loc, b.getZeroAttr(element)).getResult());
      });
  return choice.getResult(0);
}

Value moe::buildRowSoftmax(OpBuilder &builder, Location loc, Value input) {
  auto lowest = builder.getF32FloatAttr(-std::numeric_limits<float>::infinity());
  Value max = buildRowReduction(builder, loc, input, lowest, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::MaximumFOp::create(b, loc, x[0], x[1]);
  });
  Value exp = buildWithRow(builder, loc, input, max, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, x[0], x[1]));
  });
  Value sum = buildRowReduction(builder, loc, exp, builder.getF32FloatAttr(0.0f),
                                [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                                  return arith::AddFOp::create(b, loc, x[0], x[1]);
                                });
  return buildWithRow(builder, loc, exp, sum, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::DivFOp::create(b, loc, x[0], x[1]);
  });
}

Value moe::buildRowWeights(OpBuilder &builder, Location loc, Value slots, Value weights, OpFoldResult rows) {
  Value zeroWeight = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0f));
  Value empty = tensor::EmptyOp::create(builder, loc, ArrayRef{rows}, builder.getF32Type());
  Value zeros = linalg::FillOp::create(builder, loc, zeroWeight, empty).getResult(0);
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value tokenCount = tensor::DimOp::create(builder, loc, slots, 0);
  Value slotCount = tensor::DimOp::create(builder, loc, slots, 1);
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokenCount, one, zeros, [&](OpBuilder &b, Location loc, Value token, ValueRange outer) {
        auto overSlots = scf::ForOp::create(
            b, loc, zero, slotCount, one, outer[0], [&](OpBuilder &b, Location loc, Value slot, ValueRange inner) {
              Value row = tensor::ExtractOp::create(b, loc, slots, ValueRange{token, slot});
              Value taken = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, row, zero);
              auto set = scf::IfOp::create(
                  b, loc, taken,
                  [&](OpBuilder &b, Location loc) {
                    Value weight = tensor::ExtractOp::create(b, loc, weights, ValueRange{token, slot});
                    Value more = tensor::InsertOp::create(b, loc, weight, inner[0], row);
                    scf::YieldOp::create(b, loc, more);
                  },
                  [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, inner[0]); });
              scf::YieldOp::create(b, loc, set.getResults());
            });
        scf::YieldOp::create(b, loc, overSlots.getResults());
      });
  return overTokens.getResult(0);
}

/// `[tokens, slots]` as `[tokens * slots, 1]`.
static Value buildOneSlotEach(OpBuilder &builder, Location loc, Value tensor) {
  SmallVector<ReassociationIndices> together = {{0, 1}};
  Value flat = tensor::CollapseShapeOp::create(builder, loc, tensor, together);
  auto type = cast<RankedTensorType>(flat.getType());
  SmallVector<OpFoldResult> shape = {tensor::getMixedSize(builder, loc, flat, 0), builder.getIndexAttr(1)};
  return tensor::ExpandShapeOp::create(builder, loc, type.clone({type.getDimSize(0), 1}), flat, together, shape);
}

Value moe::buildCombination(OpBuilder &builder, Location loc, Value rows, Value slots, Value weights,
                            CombineAttrInterface kind, OpFoldResult tokens, RankedTensorType result) {
  bool apart = kind.keepsSlotsApart();
  int64_t slotCount = cast<RankedTensorType>(slots.getType()).getDimSize(1);
  int64_t width = cast<RankedTensorType>(rows.getType()).getDimSize(1);
  OpFoldResult count = tokens;
  if (apart) {
    // Each pair is a token of its own that has one slot: nothing is added, and empty ones stay zero.
    kind = SumAttr::get(builder.getContext());
    slots = buildOneSlotEach(builder, loc, slots);
    weights = buildOneSlotEach(builder, loc, weights);
    count = tensor::getMixedSize(builder, loc, slots, 0);
  }
  Value zero = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0f));
  Value empty = tensor::EmptyOp::create(builder, loc, ArrayRef<OpFoldResult>{count, builder.getIndexAttr(width)},
                                        builder.getF32Type());
  Value init = linalg::FillOp::create(builder, loc, zero, empty).getResult(0);
  Value sum = CombineOp::create(builder, loc, init.getType(), rows, slots, weights, kind, init).getResult();
  if (apart) {
    auto type = cast<RankedTensorType>(sum.getType());
    int64_t staticTokens = getConstantIntValue(tokens).value_or(ShapedType::kDynamic);
    SmallVector<OpFoldResult> shape = {tokens, builder.getIndexAttr(slotCount), builder.getIndexAttr(width)};
    SmallVector<ReassociationIndices> apartBy = {{0, 1}, {2}}, beside = {{0}, {1, 2}};
    sum = tensor::ExpandShapeOp::create(builder, loc, type.clone({staticTokens, slotCount, width}), sum, apartBy, shape);
    sum = tensor::CollapseShapeOp::create(builder, loc, sum, beside);
  }
  if (sum.getType() != result)
    sum = tensor::CastOp::create(builder, loc, result, sum);
  return sum;
}

void moe::nameAfterOperation(Operation *op) {
  StringAttr name = StringAttr::get(op->getContext(), op->getName().stripDialect());
  auto named = dyn_cast<NameLoc>(op->getLoc());
  if (!named || named.getName() != name)
    op->setLoc(NameLoc::get(name, op->getLoc()));
}
