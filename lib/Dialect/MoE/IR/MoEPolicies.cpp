//===- MoEPolicies.cpp - Selection policies -------------------------------===//
//
// Which experts a token goes to: properties and reference form of each policy attribute.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

LogicalResult TopKAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t k) {
  if (k < 1)
    return emitError() << "expected k to be 1 or more, got " << k;
  return success();
}

int64_t TopKAttr::getSlots(int64_t) const { return getK(); }
Scope TopKAttr::getScope() const { return Scope::token; }
bool TopKAttr::isTokenIndependent() const { return true; }
bool TopKAttr::mayLeaveSlotsEmpty() const { return false; }

LogicalResult TopKAttr::verifyExperts(int64_t experts, llvm::function_ref<InFlightDiagnostic()> emitError) const {
  if (getK() > experts)
    return emitError() << "expected k to be at most the number of experts " << experts << ", got " << getK();
  return success();
}

/// For each token, k times: the highest score not taken yet, the lowest index of equals. "Taken" is kept as a position in
/// the order (score descending, NaN last, index ascending): the next choice is the best that comes after the last one.
std::pair<Value, Value> TopKAttr::buildSelection(OpBuilder &builder, Location loc, Value scores) const {
  auto type = cast<RankedTensorType>(scores.getType());
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value k = arith::ConstantIndexOp::create(builder, loc, getK());
  Value experts = arith::ConstantIndexOp::create(builder, loc, type.getDimSize(1));
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(builder, loc, scores, 0), builder.getIndexAttr(getK())};
  Value ids = tensor::EmptyOp::create(builder, loc, sizes, builder.getI32Type());
  Value weights = tensor::EmptyOp::create(builder, loc, sizes, builder.getF32Type());

  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, ValueRange{ids, weights},
      [&](OpBuilder &b, Location loc, Value t, ValueRange state) {
        Value noIndex = arith::ConstantIndexOp::create(b, loc, -1);
        Value noScore = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
        auto overSlots = scf::ForOp::create(
            b, loc, zero, k, one, ValueRange{state[0], state[1], noIndex, noScore},
            [&](OpBuilder &b, Location loc, Value s, ValueRange taken) {
              Value lastIndex = taken[2], lastScore = taken[3];
              // a comes before b: a's score is higher, or b's is NaN and a's is not, or they tie and a's index is lower.
              auto before = [&](OpBuilder &b, Value aScore, Value aIndex, Value bScore, Value bIndex) -> Value {
                using arith::CmpFPredicate;
                Value aNaN = arith::CmpFOp::create(b, loc, CmpFPredicate::UNO, aScore, aScore);
                Value bNaN = arith::CmpFOp::create(b, loc, CmpFPredicate::UNO, bScore, bScore);
                Value higher = arith::CmpFOp::create(b, loc, CmpFPredicate::OGT, aScore, bScore);
                Value equal = arith::CmpFOp::create(b, loc, CmpFPredicate::OEQ, aScore, bScore);
                Value bothNaN = arith::AndIOp::create(b, loc, aNaN, bNaN);
                Value tie = arith::OrIOp::create(b, loc, equal, bothNaN);
                Value lower = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, aIndex, bIndex);
                Value trueValue = arith::ConstantOp::create(b, loc, b.getBoolAttr(true));
                Value aNumber = arith::XOrIOp::create(b, loc, aNaN, trueValue);
                Value onlyB = arith::AndIOp::create(b, loc, bNaN, aNumber);
                Value byScore = arith::OrIOp::create(b, loc, higher, onlyB);
                Value byIndex = arith::AndIOp::create(b, loc, tie, lower);
                return arith::OrIOp::create(b, loc, byScore, byIndex);
              };
              auto best = scf::ForOp::create(
                  b, loc, zero, experts, one, ValueRange{noIndex, noScore},
                  [&](OpBuilder &b, Location loc, Value e, ValueRange best) {
                    Value score = tensor::ExtractOp::create(b, loc, scores, ValueRange{t, e});
                    auto missing = [&](Value index) -> Value {
                      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, index, zero);
                    };
                    Value after = before(b, lastScore, lastIndex, score, e);
                    Value free = arith::OrIOp::create(b, loc, missing(lastIndex), after);
                    Value better = before(b, score, e, best[1], best[0]);
                    Value wins = arith::OrIOp::create(b, loc, missing(best[0]), better);
                    Value take = arith::AndIOp::create(b, loc, free, wins);
                    Value index = arith::SelectOp::create(b, loc, take, e, best[0]);
                    Value value = arith::SelectOp::create(b, loc, take, score, best[1]);
                    scf::YieldOp::create(b, loc, ValueRange{index, value});
                  });
              Value id = arith::IndexCastOp::create(b, loc, b.getI32Type(), best.getResult(0));
              Value newIds = tensor::InsertOp::create(b, loc, id, taken[0], ValueRange{t, s});
              Value newWeights = tensor::InsertOp::create(b, loc, best.getResult(1), taken[1], ValueRange{t, s});
              scf::YieldOp::create(b, loc, ValueRange{newIds, newWeights, best.getResult(0), best.getResult(1)});
            });
        scf::YieldOp::create(b, loc, ValueRange{overSlots.getResult(0), overSlots.getResult(1)});
      });
  return {overTokens.getResult(0), overTokens.getResult(1)};
}
