//===- Plan.cpp - moe.plan without an order of threads --------------------===//
//
// Every number is counted from the ids alone: an offset by the pairs of experts before, the row of a pair by the equal
// pairs before it. Nothing is added up by atomics, so the plan is the same every time.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;
using arith::CmpIPredicate;

namespace {
/// The ids of a routing and how many experts there are.
class Counter {
public:
  Counter(OpBuilder &builder, Location loc, Value ids, int64_t experts) : loc(loc), ids(ids), experts(experts) {
    tokens = tensor::DimOp::create(builder, loc, ids, 0);
    slots = tensor::DimOp::create(builder, loc, ids, 1);
    pairs = arith::MulIOp::create(builder, loc, tokens, slots);
  }

  Value buildOffsets(OpBuilder &builder) const;
  /// Row of each pair; where there is none, -1.
  Value buildSlots(OpBuilder &builder, Value offsets) const;
  /// Token of each row, 0 behind the last.
  Value buildTokens(OpBuilder &builder, Value rows) const;

private:
  Value constant(OpBuilder &b, int64_t value) const { return arith::ConstantIndexOp::create(b, loc, value); }
  /// `sum` and the slots of `token` before `slotEnd` whose expert `counts`.
  Value buildCount(OpBuilder &builder, Value token, Value slotEnd, Value sum,
                   llvm::function_ref<Value(OpBuilder &, Value expert)> counts) const;
  Value buildRowOfPair(OpBuilder &builder, Value offsets, Value token, Value slot) const;

  Location loc;
  Value ids;
  int64_t experts;
  Value tokens, slots, pairs;
};
} // namespace

Value Counter::buildCount(OpBuilder &builder, Value token, Value slotEnd, Value sum,
                          llvm::function_ref<Value(OpBuilder &, Value)> counts) const {
  return buildChain(builder, loc, slotEnd, sum, [&](OpBuilder &b, Value slot, Value sum) -> Value {
    Value expert = buildIndexAt(b, loc, ids, {token, slot});
    Value more = arith::AddIOp::create(b, loc, sum, constant(b, 1));
    return arith::SelectOp::create(b, loc, counts(b, expert), more, sum);
  });
}

Value Counter::buildOffsets(OpBuilder &builder) const {
  Value empty = tensor::EmptyOp::create(builder, loc, {experts + 1}, builder.getIndexType());
  return buildElements(builder, loc, empty, [&](OpBuilder &b, ValueRange place, Value) {
    return buildChain(b, loc, tokens, constant(b, 0), [&](OpBuilder &b, Value token, Value sum) {
      // Unsigned: -1 and every other id that is no expert's is behind all of them.
      return buildCount(b, token, slots, sum, [&](OpBuilder &b, Value expert) {
        return arith::CmpIOp::create(b, loc, CmpIPredicate::ult, expert, place[0]);
      });
    });
  });
}

Value Counter::buildRowOfPair(OpBuilder &builder, Value offsets, Value token, Value slot) const {
  Value own = buildIndexAt(builder, loc, ids, {token, slot});
  Value count = constant(builder, experts);
  Value chosen = arith::CmpIOp::create(builder, loc, CmpIPredicate::ult, own, count);
  auto isOwn = [&](OpBuilder &b, Value expert) {
    return arith::CmpIOp::create(b, loc, CmpIPredicate::eq, expert, own);
  };
  return scf::IfOp::create(
             builder, loc, chosen,
             [&](OpBuilder &b, Location loc) {
               Value first = tensor::ExtractOp::create(b, loc, offsets, own);
               Value row = buildChain(b, loc, token, first, [&](OpBuilder &b, Value earlier, Value sum) {
                 return buildCount(b, earlier, slots, sum, isOwn);
               });
               scf::YieldOp::create(b, loc, buildCount(b, token, slot, row, isOwn));
             },
             [&](OpBuilder &b, Location loc) { scf::YieldOp::create(b, loc, constant(b, -1)); })
      .getResult(0);
}

Value Counter::buildSlots(OpBuilder &builder, Value offsets) const {
  Value empty = tensor::EmptyOp::create(builder, loc, tensor::getMixedSizes(builder, loc, ids), builder.getIndexType());
  return buildElements(builder, loc, empty, [&](OpBuilder &b, ValueRange place, Value) {
    return buildRowOfPair(b, offsets, place[0], place[1]);
  });
}

Value Counter::buildTokens(OpBuilder &builder, Value rows) const {
  // Pairs without a row write behind all rows, each to a place of its own.
  Value twice = arith::MulIOp::create(builder, loc, pairs, constant(builder, 2));
  Value zeros = buildZeros(builder, loc, builder.getIndexType(), OpFoldResult(twice));
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  auto loop = scf::ForallOp::create(
      builder, loc, ArrayRef<OpFoldResult>{tokens, slots}, ValueRange{zeros}, /*mapping=*/std::nullopt,
      [&](OpBuilder &b, Location loc, ValueRange arguments) {
        Value token = arguments[0], slot = arguments[1];
        Value row = tensor::ExtractOp::create(b, loc, rows, ValueRange{token, slot});
        Value place = arith::AddIOp::create(b, loc, arith::MulIOp::create(b, loc, token, slots), slot);
        Value spare = arith::AddIOp::create(b, loc, pairs, place);
        Value has = arith::CmpIOp::create(b, loc, CmpIPredicate::sge, row, constant(b, 0));
        Value target = arith::SelectOp::create(b, loc, has, row, spare);
        Value element = tensor::FromElementsOp::create(b, loc, ValueRange{token});
        auto terminator = scf::InParallelOp::create(b, loc);
        b.setInsertionPointToStart(terminator.getBody());
        tensor::ParallelInsertSliceOp::create(b, loc, element, arguments[2], ArrayRef<OpFoldResult>{target},
                                              ArrayRef{one}, ArrayRef{one});
      });
  auto type = RankedTensorType::get({ShapedType::kDynamic}, builder.getIndexType());
  return tensor::ExtractSliceOp::create(builder, loc, type, loop.getResult(0), ArrayRef{zero},
                                        ArrayRef<OpFoldResult>{pairs}, ArrayRef{one});
}

namespace {
struct LowerPlan : public OpConversionPattern<PlanOp> {
  LowerPlan(const TypeConverter &converter, MLIRContext *context, bool recordLoad)
      : OpConversionPattern(converter, context, kElementBenefit), recordLoad(recordLoad) {}

  LogicalResult matchAndRewrite(PlanOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Counter counter(rewriter, loc, adaptor.getRouting()[0], op.getRouting().getType().getExperts());
    Value offsets = counter.buildOffsets(rewriter);
    if (recordLoad)
      buildRecordLoad(rewriter, loc, offsets);
    Value slots = counter.buildSlots(rewriter, offsets);
    Value tokens = counter.buildTokens(rewriter, slots);
    auto as = [&](Value value, Value result) -> Value {
      return rewriter.createOrFold<tensor::CastOp>(loc, result.getType(), value);
    };
    rewriter.replaceOp(op, {as(offsets, op.getOffsets()), as(tokens, op.getTokens()), as(slots, op.getSlots())});
    return success();
  }
  bool recordLoad;
};
} // namespace

void moe::populatePlanKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns, bool recordLoad) {
  patterns.add<LowerPlan>(converter, patterns.getContext(), recordLoad);
}
