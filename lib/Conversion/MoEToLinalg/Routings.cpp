//===- Routings.cpp - moe.limit and moe.spread as loops -------------------===//
//
// Operations that make another routing from one: pairs dropped for lack of room, decisions repeated per token.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/IR/RankedChoice.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

static Value buildIndex(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

/// One loop in another, carrying `state`; `body` gets the outer and the inner index.
static scf::ForOp buildNest(OpBuilder &builder, Location loc, Value outerCount, Value innerCount, ValueRange state,
                            llvm::function_ref<SmallVector<Value>(OpBuilder &, Location, Value, Value, ValueRange)> body) {
  Value zero = buildIndex(builder, loc, 0), one = buildIndex(builder, loc, 1);
  return scf::ForOp::create(builder, loc, zero, outerCount, one, state,
                            [&](OpBuilder &b, Location loc, Value outer, ValueRange state) {
                              auto loop = scf::ForOp::create(
                                  b, loc, zero, innerCount, one, state,
                                  [&](OpBuilder &b, Location loc, Value inner, ValueRange state) {
                                    scf::YieldOp::create(b, loc, body(b, loc, outer, inner, state));
                                  });
                              scf::YieldOp::create(b, loc, loop.getResults());
                            });
}

namespace {
/// What a (token, slot) pair asks for: room with an expert, from a group.
struct Request {
  /// The expert, 0 where the slot is empty.
  Value expert;
  Value filled, weight, id;
  /// The group, and how many of it an expert takes: none of a group that is unknown.
  Value group, room;
};

/// A routing that is being limited.
struct Limiter {
  Value ids, weights, capacity, groups;
  int64_t experts, slots;

  Request buildRequest(OpBuilder &b, Location loc, Value token, Value slot) const;
  /// Whether fewer pairs than there is room for come before, by weight.
  Value buildHasRoom(OpBuilder &b, Location loc, const Request &own, Value token, Value slot) const;
  /// The new {id, weight} of a pair, written to `state[0]` and `state[1]`.
  std::pair<Value, Value> buildWrite(OpBuilder &b, Location loc, const Request &own, Value keep, ValueRange place,
                                     ValueRange state) const;
  Value tokens(OpBuilder &b, Location loc) const { return tensor::DimOp::create(b, loc, ids, 0); }
};
} // namespace

Request Limiter::buildRequest(OpBuilder &b, Location loc, Value token, Value slot) const {
  Request own;
  SmallVector<Value> place = {token, slot};
  own.id = tensor::ExtractOp::create(b, loc, ids, place);
  own.weight = tensor::ExtractOp::create(b, loc, weights, place);
  Value expert = arith::IndexCastOp::create(b, loc, b.getIndexType(), own.id);
  Value count = buildIndex(b, loc, experts);
  // As an unsigned number, -1 is large.
  own.filled = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, expert, count);
  own.expert = arith::SelectOp::create(b, loc, own.filled, expert, buildIndex(b, loc, 0));
  own.group = buildIndex(b, loc, 0);
  if (groups)
    own.group = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                           tensor::ExtractOp::create(b, loc, groups, token).getResult());
  own.room = buildBoundedExtract(b, loc, capacity, own.group);
  return own;
}

Value Limiter::buildHasRoom(OpBuilder &b, Location loc, const Request &own, Value token, Value slot) const {
  Value slotCount = buildIndex(b, loc, slots);
  auto place = [&](OpBuilder &b, Value token, Value slot) -> Value {
    return arith::AddIOp::create(b, loc, arith::MulIOp::create(b, loc, token, slotCount), slot);
  };
  Candidate self = {place(b, token, slot), own.weight};
  auto before = buildNest(b, loc, tokens(b, loc), slotCount, buildIndex(b, loc, 0),
                          [&](OpBuilder &b, Location loc, Value otherToken, Value otherSlot, ValueRange count) {
                            Request other = buildRequest(b, loc, otherToken, otherSlot);
                            auto same = [&](Value x, Value y) -> Value {
                              return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
                            };
                            Value counts = buildComesBefore(b, loc, {place(b, otherToken, otherSlot), other.weight}, self);
                            counts = arith::AndIOp::create(b, loc, counts, other.filled);
                            counts = arith::AndIOp::create(b, loc, counts, same(other.expert, own.expert));
                            counts = arith::AndIOp::create(b, loc, counts, same(other.group, own.group));
                            Value more = arith::AddIOp::create(b, loc, count[0], buildIndex(b, loc, 1));
                            return SmallVector<Value>{arith::SelectOp::create(b, loc, counts, more, count[0])};
                          });
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, before.getResult(0), own.room);
}

std::pair<Value, Value> Limiter::buildWrite(OpBuilder &b, Location loc, const Request &own, Value keep,
                                            ValueRange place, ValueRange state) const {
  Value none = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-1));
  Value nothing = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
  Value id = arith::SelectOp::create(b, loc, keep, own.id, none);
  Value weight = arith::SelectOp::create(b, loc, keep, own.weight, nothing);
  Value newIds = tensor::InsertOp::create(b, loc, id, state[0], place);
  return {newIds, tensor::InsertOp::create(b, loc, weight, state[1], place)};
}

/// First come, first served: a count per group and expert, pairs visited in the order of `priority`.
static SmallVector<Value> buildInOrder(OpBuilder &builder, Location loc, const Limiter &limiter, ValueRange outs,
                                       bool slotsFirst) {
  // One row more than there are groups: that of tokens whose group is unknown, which find no room anyway.
  Value groupCount = tensor::DimOp::create(builder, loc, limiter.capacity, 0);
  Value rows = arith::AddIOp::create(builder, loc, groupCount, buildIndex(builder, loc, 1));
  Value counts = buildZeros(builder, loc, builder.getIndexType(), {rows, builder.getIndexAttr(limiter.experts)});
  Value tokens = limiter.tokens(builder, loc), slots = buildIndex(builder, loc, limiter.slots);
  auto loop = buildNest(
      builder, loc, slotsFirst ? slots : tokens, slotsFirst ? tokens : slots, {outs[0], outs[1], counts},
      [&](OpBuilder &b, Location loc, Value outer, Value inner, ValueRange state) {
        Value token = slotsFirst ? inner : outer, slot = slotsFirst ? outer : inner;
        Request own = limiter.buildRequest(b, loc, token, slot);
        Value known = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, own.group, groupCount);
        SmallVector<Value> place = {arith::SelectOp::create(b, loc, known, own.group, groupCount), own.expert};
        Value taken = tensor::ExtractOp::create(b, loc, state[2], place);
        Value free = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, taken, own.room);
        Value keep = arith::AndIOp::create(b, loc, own.filled, free);
        auto [ids, weights] = limiter.buildWrite(b, loc, own, keep, {token, slot}, state);
        Value more = arith::AddIOp::create(b, loc, taken, buildIndex(b, loc, 1));
        Value count = arith::SelectOp::create(b, loc, keep, more, taken);
        return SmallVector<Value>{ids, weights, tensor::InsertOp::create(b, loc, count, state[2], place)};
      });
  return {loop.getResult(0), loop.getResult(1)};
}

/// The heaviest first: each pair counts those that come before it.
static SmallVector<Value> buildByWeight(OpBuilder &builder, Location loc, const Limiter &limiter, ValueRange outs) {
  auto loop = buildNest(builder, loc, limiter.tokens(builder, loc), buildIndex(builder, loc, limiter.slots), outs,
                        [&](OpBuilder &b, Location loc, Value token, Value slot, ValueRange state) {
                          Request own = limiter.buildRequest(b, loc, token, slot);
                          Value free = limiter.buildHasRoom(b, loc, own, token, slot);
                          Value keep = arith::AndIOp::create(b, loc, own.filled, free);
                          auto [ids, weights] = limiter.buildWrite(b, loc, own, keep, {token, slot}, state);
                          return SmallVector<Value>{ids, weights};
                        });
  return {loop.getResult(0), loop.getResult(1)};
}

namespace {
struct LowerLimit : public OpConversionPattern<LimitOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(LimitOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    RoutingType type = op.getRouting().getType();
    Value groups = adaptor.getGroups().empty() ? Value() : adaptor.getGroups()[0];
    Limiter limiter = {adaptor.getRouting()[0], adaptor.getRouting()[1], adaptor.getCapacity()[0], groups,
                       type.getExperts(), type.getSlots()};
    Location loc = op.getLoc();
    SmallVector<Value> outs = {buildEmptyLike(rewriter, loc, limiter.ids), buildEmptyLike(rewriter, loc, limiter.weights)};
    SmallVector<Value> parts =
        op.getPriority() == Priority::weight
            ? buildByWeight(rewriter, loc, limiter, outs)
            : buildInOrder(rewriter, loc, limiter, outs, op.getPriority() == Priority::slot);
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};

struct LowerSpread : public OpConversionPattern<SpreadOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(SpreadOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    RoutingType type = op.getSpread().getType();
    Value rows = adaptor.getRows()[0], ids = adaptor.getRouting()[0], weights = adaptor.getRouting()[1];
    Value tokens = tensor::DimOp::create(rewriter, loc, rows, 0);
    Value count = tensor::DimOp::create(rewriter, loc, ids, 0);
    SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(rewriter, loc, rows, 0),
                                       rewriter.getIndexAttr(type.getSlots())};
    SmallVector<Value> outs = {tensor::EmptyOp::create(rewriter, loc, sizes, rewriter.getI32Type()),
                               tensor::EmptyOp::create(rewriter, loc, sizes, rewriter.getF32Type())};
    auto copy = [&](OpBuilder &b, Location loc, Value token, Value slot, ValueRange state) {
      Value row = arith::IndexCastOp::create(b, loc, b.getIndexType(),
                                             tensor::ExtractOp::create(b, loc, rows, token).getResult());
      Value known = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, row, count);
      auto parts = scf::IfOp::create(
          b, loc, known,
          [&](OpBuilder &b, Location loc) {
            SmallVector<Value> place = {row, slot};
            Value id = tensor::ExtractOp::create(b, loc, ids, place);
            Value weight = tensor::ExtractOp::create(b, loc, weights, place);
            scf::YieldOp::create(b, loc, ValueRange{id, weight});
          },
          [&](OpBuilder &b, Location loc) {
            Value none = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-1));
            Value nothing = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
            scf::YieldOp::create(b, loc, ValueRange{none, nothing});
          });
      SmallVector<Value> place = {token, slot};
      return SmallVector<Value>{tensor::InsertOp::create(b, loc, parts.getResult(0), state[0], place),
                                tensor::InsertOp::create(b, loc, parts.getResult(1), state[1], place)};
    };
    auto loop = buildNest(rewriter, loc, tokens, buildIndex(rewriter, loc, type.getSlots()), outs, copy);
    SmallVector<Value> parts(loop.getResults());
    rewriter.replaceOpWithMultiple(op, {ValueRange(parts)});
    return success();
  }
};
} // namespace

void moe::populateRoutingPatterns(const TypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<LowerLimit, LowerSpread>(converter, patterns.getContext());
}
