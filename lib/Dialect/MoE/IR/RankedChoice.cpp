//===- RankedChoice.cpp - Loops that choose by rank -----------------------===//
//
// One order for all policies: score descending, NaN last, index ascending.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/RankedChoice.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

static Value buildIndex(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

static Value buildNone(OpBuilder &builder, Location loc, Value index) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, index, buildIndex(builder, loc, 0));
}

Value moe::buildComesBefore(OpBuilder &builder, Location loc, Candidate a, Candidate b) {
  using arith::CmpFPredicate;
  Value aNaN = arith::CmpFOp::create(builder, loc, CmpFPredicate::UNO, a.score, a.score);
  Value bNaN = arith::CmpFOp::create(builder, loc, CmpFPredicate::UNO, b.score, b.score);
  Value higher = arith::CmpFOp::create(builder, loc, CmpFPredicate::OGT, a.score, b.score);
  Value equal = arith::CmpFOp::create(builder, loc, CmpFPredicate::OEQ, a.score, b.score);
  Value bothNaN = arith::AndIOp::create(builder, loc, aNaN, bNaN);
  Value tie = arith::OrIOp::create(builder, loc, equal, bothNaN);
  Value lower = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a.index, b.index);
  Value trueValue = arith::ConstantOp::create(builder, loc, builder.getBoolAttr(true));
  Value aNumber = arith::XOrIOp::create(builder, loc, aNaN, trueValue);
  Value onlyB = arith::AndIOp::create(builder, loc, bNaN, aNumber);
  Value byScore = arith::OrIOp::create(builder, loc, higher, onlyB);
  Value byIndex = arith::AndIOp::create(builder, loc, tie, lower);
  return arith::OrIOp::create(builder, loc, byScore, byIndex);
}

Candidate moe::buildNextBest(OpBuilder &builder, Location loc, Value scores, Value row, Value begin, Value end,
                             Candidate last, llvm::function_ref<Value(OpBuilder &, Location, Candidate)> qualifies) {
  Value noIndex = buildIndex(builder, loc, -1);
  Value noScore = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0f));
  auto loop = scf::ForOp::create(
      builder, loc, begin, end, buildIndex(builder, loc, 1), ValueRange{noIndex, noScore},
      [&](OpBuilder &b, Location loc, Value index, ValueRange state) {
        Candidate best = {state[0], state[1]};
        Candidate next = {index, tensor::ExtractOp::create(b, loc, scores, ValueRange{row, index})};
        Value after = buildComesBefore(b, loc, last, next);
        Value free = arith::OrIOp::create(b, loc, buildNone(b, loc, last.index), after);
        if (qualifies)
          free = arith::AndIOp::create(b, loc, free, qualifies(b, loc, next));
        Value better = buildComesBefore(b, loc, next, best);
        Value wins = arith::OrIOp::create(b, loc, buildNone(b, loc, best.index), better);
        Value take = arith::AndIOp::create(b, loc, free, wins);
        Value newIndex = arith::SelectOp::create(b, loc, take, next.index, best.index);
        Value newScore = arith::SelectOp::create(b, loc, take, next.score, best.score);
        scf::YieldOp::create(b, loc, ValueRange{newIndex, newScore});
      });
  return {loop.getResult(0), loop.getResult(1)};
}

/// One slot of one token. `state` is ids, weights, and the candidate and sum of the slot before; gives the new ones.
static SmallVector<Value> buildSlot(OpBuilder &b, Location loc, Value scores, const RankedRules &rules, RankedSlot at,
                                    ValueRange state) {
  Value begin = buildIndex(b, loc, 0);
  Value end = buildIndex(b, loc, cast<RankedTensorType>(scores.getType()).getDimSize(1));
  at.last = {state[2], state[3]};
  at.sum = state[4];
  if (rules.range) {
    Value restart;
    std::tie(begin, end, restart) = rules.range(b, loc, at.slot);
    at.last.index = arith::SelectOp::create(b, loc, restart, buildIndex(b, loc, -1), at.last.index);
  }
  auto mayBeChosen = [&](OpBuilder &b, Location loc, Candidate next) { return rules.qualifies(b, loc, at, next); };
  llvm::function_ref<Value(OpBuilder &, Location, Candidate)> qualifies;
  if (rules.qualifies)
    qualifies = mayBeChosen;
  Candidate best = buildNextBest(b, loc, scores, at.token, begin, end, at.last, qualifies);
  Value id = best.index;
  Value weight = rules.weigh ? rules.weigh(b, loc, at, best) : best.score;
  Value sum = at.sum;
  if (rules.keeps) {
    Value keeps = rules.keeps(b, loc, at, best);
    sum = arith::SelectOp::create(b, loc, keeps, arith::AddFOp::create(b, loc, sum, best.score), sum);
    id = arith::SelectOp::create(b, loc, keeps, id, buildIndex(b, loc, -1));
    Value none = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
    weight = arith::SelectOp::create(b, loc, keeps, weight, none);
  }
  Candidate last = best;
  // Where nobody was left, nobody is left in the next slot either.
  if (rules.qualifies) {
    Value nobody = buildNone(b, loc, best.index);
    last.index = arith::SelectOp::create(b, loc, nobody, at.last.index, best.index);
    last.score = arith::SelectOp::create(b, loc, nobody, at.last.score, best.score);
  }
  Value narrow = arith::IndexCastOp::create(b, loc, b.getI32Type(), id);
  SmallVector<Value> place = {at.token, at.slot};
  return {tensor::InsertOp::create(b, loc, narrow, state[0], place),
          tensor::InsertOp::create(b, loc, weight, state[1], place), last.index, last.score, sum};
}

std::pair<Value, Value> moe::buildRankedChoice(OpBuilder &builder, Location loc, Value scores, int64_t slots,
                                               const RankedRules &rules) {
  Value zero = buildIndex(builder, loc, 0);
  Value one = buildIndex(builder, loc, 1);
  Value slotCount = buildIndex(builder, loc, slots);
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(builder, loc, scores, 0), builder.getIndexAttr(slots)};
  Value ids = tensor::EmptyOp::create(builder, loc, sizes, builder.getI32Type());
  Value weights = tensor::EmptyOp::create(builder, loc, sizes, builder.getF32Type());
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, ValueRange{ids, weights},
      [&](OpBuilder &b, Location loc, Value token, ValueRange state) {
        SmallVector<Value> facts;
        if (rules.prepare)
          facts = rules.prepare(b, loc, token);
        Value noIndex = buildIndex(b, loc, -1);
        Value noScore = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
        auto overSlots = scf::ForOp::create(
            b, loc, zero, slotCount, one, ValueRange{state[0], state[1], noIndex, noScore, noScore},
            [&](OpBuilder &b, Location loc, Value slot, ValueRange state) {
              RankedSlot at = {token, slot, facts, {}, {}};
              scf::YieldOp::create(b, loc, buildSlot(b, loc, scores, rules, at, state));
            });
        scf::YieldOp::create(b, loc, ValueRange{overSlots.getResult(0), overSlots.getResult(1)});
      });
  return {overTokens.getResult(0), overTokens.getResult(1)};
}

Value moe::buildParameterAt(OpBuilder &builder, Location loc, Value parameter, ValueRange indices) {
  auto type = cast<RankedTensorType>(parameter.getType());
  SmallVector<Value> places;
  for (auto [extent, index] : llvm::zip_equal(type.getShape(), indices))
    places.push_back(extent == 1 ? buildIndex(builder, loc, 0) : index);
  return tensor::ExtractOp::create(builder, loc, parameter, places);
}
