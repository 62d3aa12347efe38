//===- MoEPoliciesApart.cpp - Selection policies without a rank -----------===//
//
// All experts, drawn ones, and experts that choose their tokens.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/RankedChoice.h"

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

using EmitError = llvm::function_ref<InFlightDiagnostic()>;
using Choice = std::pair<Value, Value>;
static constexpr int64_t kTokens = PolicyParameter::kTokens;

static Value buildIndex(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

static int64_t getExperts(Value scores) { return cast<RankedTensorType>(scores.getType()).getDimSize(1); }

/// Ids of `slots` slots for each token of `scores`, `id(token, slot)` being one of them (i32).
static Value buildIds(OpBuilder &builder, Location loc, Value scores, int64_t slots,
                      llvm::function_ref<Value(OpBuilder &, Location, Value, Value)> id) {
  SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(builder, loc, scores, 0), builder.getIndexAttr(slots)};
  Value empty = tensor::EmptyOp::create(builder, loc, sizes, builder.getI32Type());
  Value zero = buildIndex(builder, loc, 0), one = buildIndex(builder, loc, 1);
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  Value count = buildIndex(builder, loc, slots);
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, empty, [&](OpBuilder &b, Location loc, Value token, ValueRange state) {
        auto overSlots = scf::ForOp::create(
            b, loc, zero, count, one, state, [&](OpBuilder &b, Location loc, Value slot, ValueRange state) {
              Value own = id(b, loc, token, slot);
              Value next = tensor::InsertOp::create(b, loc, own, state[0], ValueRange{token, slot});
              scf::YieldOp::create(b, loc, next);
            });
        scf::YieldOp::create(b, loc, overSlots.getResults());
      });
  return overTokens.getResult(0);
}

//===----------------------------------------------------------------------===//
// all
//===----------------------------------------------------------------------===//

int64_t AllAttr::getSlots(int64_t experts) const { return experts; }
bool AllAttr::isTokenIndependent() const { return true; }
bool AllAttr::mayLeaveSlotsEmpty(bool) const { return false; }
bool AllAttr::boundsSelection() const { return false; }
std::string AllAttr::describe() const { return "every expert"; }
StringRef AllAttr::describeTies() const { return "nothing is compared"; }
LogicalResult AllAttr::verifyExperts(int64_t, EmitError) const { return success(); }

Choice AllAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  Value ids = buildIds(builder, loc, input.scores, getExperts(input.scores),
                       [](OpBuilder &b, Location loc, Value, Value slot) -> Value {
                         return arith::IndexCastOp::create(b, loc, b.getI32Type(), slot);
                       });
  return {ids, input.scores};
}

//===----------------------------------------------------------------------===//
// random, sample
//===----------------------------------------------------------------------===//

/// What both draws read: the key of all draws, and what each token's draw belongs to.
static SmallVector<PolicyParameter> drawParameters() {
  return {{"key", {1}, PolicyParameter::Element::i32}, {"counter", {kTokens}, PolicyParameter::Element::i32}};
}

/// Mixes the bits of an i32 so that each of them changes half of the result's: the finaliser of MurmurHash3.
static Value buildMix(OpBuilder &b, Location loc, Value x) {
  auto constant = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(value)));
  };
  auto fold = [&](Value value, uint32_t by) -> Value {
    return arith::XOrIOp::create(b, loc, value, arith::ShRUIOp::create(b, loc, value, constant(by)));
  };
  x = arith::MulIOp::create(b, loc, fold(x, 16), constant(0x85EBCA6B));
  x = arith::MulIOp::create(b, loc, fold(x, 13), constant(0xC2B2AE35));
  return fold(x, 16);
}

/// 32 random bits of a token: `mix(counter ^ mix(key))`.
static Value buildDraw(OpBuilder &b, Location loc, const SelectionInput &input, Value token) {
  Value key = buildParameterAt(b, loc, input.lookup("key"), buildIndex(b, loc, 0));
  Value counter = buildParameterAt(b, loc, input.lookup("counter"), token);
  return buildMix(b, loc, arith::XOrIOp::create(b, loc, counter, buildMix(b, loc, key)));
}

int64_t RandomAttr::getSlots(int64_t) const { return 1; }
bool RandomAttr::isTokenIndependent() const { return true; }
bool RandomAttr::mayLeaveSlotsEmpty(bool) const { return false; }
std::string RandomAttr::describe() const { return "one expert drawn uniformly, by key and counter"; }
StringRef RandomAttr::describeTies() const { return "nothing is compared"; }
SmallVector<PolicyParameter> RandomAttr::getParameters(int64_t) const { return drawParameters(); }
LogicalResult RandomAttr::verifyExperts(int64_t, EmitError) const { return success(); }

Choice RandomAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  int64_t experts = getExperts(input.scores);
  Value ids = buildIds(builder, loc, input.scores, 1, [&](OpBuilder &b, Location loc, Value token, Value) -> Value {
    Type wide = b.getI64Type();
    Value bits = arith::ExtUIOp::create(b, loc, wide, buildDraw(b, loc, input, token));
    Value count = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(experts));
    Value half = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(32));
    Value scaled = arith::ShRUIOp::create(b, loc, arith::MulIOp::create(b, loc, bits, count), half);
    return arith::TruncIOp::create(b, loc, b.getI32Type(), scaled);
  });
  return {ids, Value()};
}

int64_t SampleAttr::getSlots(int64_t) const { return 1; }
bool SampleAttr::isTokenIndependent() const { return true; }
bool SampleAttr::mayLeaveSlotsEmpty(bool) const { return false; }
std::string SampleAttr::describe() const {
  return "one expert drawn in proportion to the scores, by key and counter";
}
StringRef SampleAttr::describeTies() const { return "nothing is compared"; }
SmallVector<PolicyParameter> SampleAttr::getParameters(int64_t) const { return drawParameters(); }
LogicalResult SampleAttr::verifyExperts(int64_t, EmitError) const { return success(); }

Choice SampleAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  int64_t experts = getExperts(input.scores);
  auto draw = [&](OpBuilder &b, Location loc, Value token, Value) -> Value {
    Value zero = buildIndex(b, loc, 0), one = buildIndex(b, loc, 1), count = buildIndex(b, loc, experts);
    Value none = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
    auto score = [&](OpBuilder &b, Value expert) -> Value {
      return tensor::ExtractOp::create(b, loc, input.scores, ValueRange{token, expert});
    };
    auto total = scf::ForOp::create(b, loc, zero, count, one, none,
                                    [&](OpBuilder &b, Location loc, Value expert, ValueRange sum) {
                                      Value next = arith::AddFOp::create(b, loc, sum[0], score(b, expert));
                                      scf::YieldOp::create(b, loc, next);
                                    });
    // 24 bits are exact in f32.
    Value eight = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(8));
    Value bits = arith::ShRUIOp::create(b, loc, buildDraw(b, loc, input, token), eight);
    Value unit = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0x1p-24f));
    Value u = arith::MulFOp::create(b, loc, arith::UIToFPOp::create(b, loc, b.getF32Type(), bits), unit);
    Value bound = arith::MulFOp::create(b, loc, u, total.getResult(0));
    // How many experts, from the first on and without the last, leave the sum at or below the bound.
    Value last = buildIndex(b, loc, experts - 1);
    auto passed = scf::ForOp::create(
        b, loc, zero, last, one, ValueRange{none, zero}, [&](OpBuilder &b, Location loc, Value expert, ValueRange state) {
          Value sum = arith::AddFOp::create(b, loc, state[0], score(b, expert));
          Value above = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, sum, bound);
          // With scores below zero the sum can fall under the bound again.
          Value found = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, state[1], expert);
          Value stays = arith::OrIOp::create(b, loc, above, found);
          Value more = arith::AddIOp::create(b, loc, state[1], one);
          scf::YieldOp::create(b, loc, ValueRange{sum, arith::SelectOp::create(b, loc, stays, state[1], more)});
        });
    return arith::IndexCastOp::create(b, loc, b.getI32Type(), passed.getResult(1));
  };
  return {buildIds(builder, loc, input.scores, 1, draw), Value()};
}

//===----------------------------------------------------------------------===//
// expert_choice
//===----------------------------------------------------------------------===//

int64_t ExpertChoiceAttr::getSlots(int64_t experts) const { return experts; }
bool ExpertChoiceAttr::isTokenIndependent() const { return false; }
bool ExpertChoiceAttr::mayLeaveSlotsEmpty(bool) const { return true; }
std::string ExpertChoiceAttr::describe() const {
  return "the experts that take it: each takes as many tokens as its capacity, those that score highest for it";
}
StringRef ExpertChoiceAttr::describeTies() const {
  return "of tokens with equal scores the first is taken; NaN is below every number";
}
StringRef ExpertChoiceAttr::whenNothingQualifies() const { return "it gets no expert"; }
SmallVector<PolicyParameter> ExpertChoiceAttr::getParameters(int64_t) const {
  return {{"capacity", {PolicyParameter::kAny}, PolicyParameter::Element::index},
          {"groups", {kTokens}, PolicyParameter::Element::i32, /*required=*/false}};
}
LogicalResult ExpertChoiceAttr::verifyExperts(int64_t, EmitError) const { return success(); }

Choice ExpertChoiceAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  Value scores = input.scores, capacity = input.lookup("capacity"), groups = input.lookup("groups");
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  Value zero = buildIndex(builder, loc, 0), one = buildIndex(builder, loc, 1);
  auto groupOf = [&](OpBuilder &b, Location loc, Value token) -> Value {
    if (!groups)
      return buildIndex(b, loc, 0);
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), buildParameterAt(b, loc, groups, token));
  };
  // Expert e takes the token if fewer than its capacity come before it.
  auto take = [&](OpBuilder &b, Location loc, Value token, Value expert) -> Value {
    Value score = tensor::ExtractOp::create(b, loc, scores, ValueRange{token, expert});
    Value group = groupOf(b, loc, token);
    auto before = scf::ForOp::create(
        b, loc, zero, tokens, one, zero, [&](OpBuilder &b, Location loc, Value other, ValueRange count) {
          Value otherScore = tensor::ExtractOp::create(b, loc, scores, ValueRange{other, expert});
          Value first = buildComesBefore(b, loc, {other, otherScore}, {token, score});
          Value same = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, groupOf(b, loc, other), group);
          Value counts = arith::AndIOp::create(b, loc, first, same);
          Value more = arith::AddIOp::create(b, loc, count[0], one);
          scf::YieldOp::create(b, loc, arith::SelectOp::create(b, loc, counts, more, count[0]).getResult());
        });
    Value room = buildBoundedExtract(b, loc, capacity, group);
    Value taken = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, before.getResult(0), room);
    Value id = arith::IndexCastOp::create(b, loc, b.getI32Type(), expert);
    Value none = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-1));
    return arith::SelectOp::create(b, loc, taken, id, none);
  };
  return {buildIds(builder, loc, scores, getExperts(scores), take), Value()};
}
