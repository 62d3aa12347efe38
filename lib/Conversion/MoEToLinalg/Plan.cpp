//===- Plan.cpp - moe.plan as a counting sort -----------------------------===//
//
// Counts the rows of each expert, sums the counts to offsets, then places each
// (token, slot) pair.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

using PairBody = llvm::function_ref<SmallVector<Value>(
    OpBuilder &, Value token, Value slot, Value expert, ValueRange)>;
using EmptyBody = llvm::function_ref<SmallVector<Value>(
    OpBuilder &, Value token, Value slot, ValueRange)>;

/// For each token, for each slot: `pair` if the id is that of an expert, else
/// `empty`, on the carried tensors.
static ValueRange forEachPair(OpBuilder &builder, Location loc, Value ids,
                              int64_t experts, ValueRange carried,
                              PairBody pair, EmptyBody empty) {
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value count = arith::ConstantIndexOp::create(builder, loc, experts);
  Value tokens = tensor::DimOp::create(builder, loc, ids, 0);
  Value slots = tensor::DimOp::create(builder, loc, ids, 1);
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, carried,
      [&](OpBuilder &b, Location loc, Value t, ValueRange outer) {
        auto overSlots = scf::ForOp::create(
            b, loc, zero, slots, one, outer,
            [&](OpBuilder &b, Location loc, Value s, ValueRange inner) {
              Value id =
                  tensor::ExtractOp::create(b, loc, ids, ValueRange{t, s});
              Value expert =
                  arith::IndexCastOp::create(b, loc, b.getIndexType(), id);
              // Unsigned: -1 and every other id that is no expert's is an empty
              // slot.
              Value chosen = arith::CmpIOp::create(
                  b, loc, arith::CmpIPredicate::ult, expert, count);
              auto choose = scf::IfOp::create(
                  b, loc, chosen,
                  [&](OpBuilder &b, Location loc) {
                    scf::YieldOp::create(b, loc, pair(b, t, s, expert, inner));
                  },
                  [&](OpBuilder &b, Location loc) {
                    scf::YieldOp::create(b, loc, empty(b, t, s, inner));
                  });
              scf::YieldOp::create(b, loc, choose.getResults());
            });
        scf::YieldOp::create(b, loc, overSlots.getResults());
      });
  return overTokens.getResults();
}

void moe::buildRecordLoad(OpBuilder &builder, Location loc, Value offsets) {
  Type any =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getIndexType());
  Value argument = tensor::CastOp::create(builder, loc, any, offsets);
  func::CallOp::create(builder, loc, kRecordLoadFunction, TypeRange{},
                       argument);
}

Plan moe::buildPlan(OpBuilder &builder, Location loc, Value ids,
                    int64_t experts, bool recordLoad) {
  auto type = cast<RankedTensorType>(ids.getType());
  OpFoldResult tokenCount = tensor::getMixedSize(builder, loc, ids, 0);
  int64_t slotCount = type.getDimSize(1);
  OpFoldResult pairs;
  if (type.isDynamicDim(0)) {
    Value factor = arith::ConstantIndexOp::create(builder, loc, slotCount);
    pairs = arith::MulIOp::create(builder, loc, cast<Value>(tokenCount), factor)
                .getResult();
  } else {
    pairs = builder.getIndexAttr(type.getDimSize(0) * slotCount);
  }
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value expertCount = arith::ConstantIndexOp::create(builder, loc, experts);

  // counts[e + 1]: rows of expert e.
  Value counts = buildZeros(builder, loc, builder.getIndexType(),
                            OpFoldResult(builder.getIndexAttr(experts + 1)));
  counts = forEachPair(
      builder, loc, ids, experts, counts,
      [&](OpBuilder &b, Value, Value, Value expert,
          ValueRange state) -> SmallVector<Value> {
        Value next = arith::AddIOp::create(b, loc, expert, one);
        Value before = tensor::ExtractOp::create(b, loc, state[0], next);
        Value after = arith::AddIOp::create(b, loc, before, one);
        return {tensor::InsertOp::create(b, loc, after, state[0], next)};
      },
      [](OpBuilder &, Value, Value, ValueRange state) {
        return SmallVector<Value>(state);
      })[0];

  // offsets[e]: rows of experts before e; the next free row of each expert
  // starts there.
  Value nextRows =
      tensor::EmptyOp::create(builder, loc, {experts}, builder.getIndexType());
  auto sum = scf::ForOp::create(
      builder, loc, zero, expertCount, one, ValueRange{counts, nextRows},
      [&](OpBuilder &b, Location loc, Value e, ValueRange state) {
        Value next = arith::AddIOp::create(b, loc, e, one);
        Value begin = tensor::ExtractOp::create(b, loc, state[0], e);
        Value count = tensor::ExtractOp::create(b, loc, state[0], next);
        Value end = arith::AddIOp::create(b, loc, begin, count);
        Value offsets = tensor::InsertOp::create(b, loc, end, state[0], next);
        Value rows = tensor::InsertOp::create(b, loc, begin, state[1], e);
        scf::YieldOp::create(b, loc, ValueRange{offsets, rows});
      });
  Value offsets = sum.getResult(0);
  if (recordLoad)
    buildRecordLoad(builder, loc, offsets);

  // Each pair takes the next row of its expert.
  Value tokens = buildZeros(builder, loc, builder.getIndexType(), pairs);
  Value slots = tensor::EmptyOp::create(
      builder, loc, tensor::getMixedSizes(builder, loc, ids),
      builder.getIndexType());
  ValueRange placed = forEachPair(
      builder, loc, ids, experts, {sum.getResult(1), tokens, slots},
      [&](OpBuilder &b, Value token, Value slot, Value expert,
          ValueRange state) -> SmallVector<Value> {
        Value row = tensor::ExtractOp::create(b, loc, state[0], expert);
        Value next = arith::AddIOp::create(b, loc, row, one);
        return {tensor::InsertOp::create(b, loc, next, state[0], expert),
                tensor::InsertOp::create(b, loc, token, state[1], row),
                tensor::InsertOp::create(b, loc, row, state[2],
                                         ValueRange{token, slot})};
      },
      [&](OpBuilder &b, Value token, Value slot,
          ValueRange state) -> SmallVector<Value> {
        Value none = arith::ConstantIndexOp::create(b, loc, -1);
        return {state[0], state[1],
                tensor::InsertOp::create(b, loc, none, state[2],
                                         ValueRange{token, slot})};
      });
  return {offsets, placed[1], placed[2]};
}

namespace {
struct LowerPlan : public OpConversionPattern<PlanOp> {
  LowerPlan(const TypeConverter &converter, MLIRContext *context,
            bool recordLoad)
      : OpConversionPattern(converter, context), recordLoad(recordLoad) {}
  LogicalResult
  matchAndRewrite(PlanOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Value ids = adaptor.getRouting()[0];
    Plan plan = buildPlan(rewriter, op.getLoc(), ids,
                          op.getRouting().getType().getExperts(), recordLoad);
    rewriter.replaceOp(op, {plan.offsets, plan.tokens, plan.slots});
    return success();
  }
  bool recordLoad;
};
} // namespace

void moe::populatePlanPatterns(const TypeConverter &converter,
                               RewritePatternSet &patterns, bool recordLoad) {
  patterns.add<LowerPlan>(converter, patterns.getContext(), recordLoad);
}
