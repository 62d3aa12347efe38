//===- MoEPolicies.cpp - Selection policies by rank -----------------------===//
//
// Policies that give a token the best of its experts: properties and reference form of each attribute.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/RankedChoice.h"

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

using EmitError = llvm::function_ref<InFlightDiagnostic()>;
using Choice = std::pair<Value, Value>;
static constexpr int64_t kTokens = PolicyParameter::kTokens;

static LogicalResult verifyAtLeastOne(EmitError emitError, StringRef name, int64_t value) {
  if (value < 1)
    return emitError() << "expected " << name << " to be 1 or more, got " << value;
  return success();
}

static LogicalResult verifyAtMostExperts(EmitError emitError, StringRef name, int64_t value, int64_t experts) {
  if (value > experts)
    return emitError() << "expected " << name << " to be at most the number of experts " << experts << ", got "
                       << value;
  return success();
}

static LogicalResult verifyGroups(EmitError emitError, int64_t groups, int64_t experts) {
  if (experts % groups != 0)
    return emitError() << "expected the groups to divide the number of experts " << experts << ", got " << groups;
  return success();
}

static std::string plural(int64_t count, StringRef one) {
  return count == 1 ? ("the " + one).str() : ("the " + Twine(count) + " " + one + "s").str();
}

static Value buildFirstSlot(OpBuilder &b, Location loc, Value slot) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, slot, zero);
}

static Value buildNot(OpBuilder &b, Location loc, Value value) {
  Value yes = arith::ConstantOp::create(b, loc, b.getBoolAttr(true));
  return arith::XOrIOp::create(b, loc, value, yes);
}

//===----------------------------------------------------------------------===//
// top_k
//===----------------------------------------------------------------------===//

LogicalResult TopKAttr::verify(EmitError emitError, int64_t k) { return verifyAtLeastOne(emitError, "k", k); }
int64_t TopKAttr::getSlots(int64_t) const { return getK(); }
bool TopKAttr::isTokenIndependent() const { return true; }
bool TopKAttr::mayLeaveSlotsEmpty(bool withOptional) const { return withOptional; }
std::string TopKAttr::describe() const { return plural(getK(), "expert") + " with the highest score"; }

SmallVector<PolicyParameter> TopKAttr::getParameters(int64_t) const {
  return {{"k", {kTokens}, PolicyParameter::Element::i32, /*required=*/false}};
}

LogicalResult TopKAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  return verifyAtMostExperts(emitError, "k", getK(), experts);
}

Choice TopKAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  RankedRules rules;
  if (Value k = input.lookup("k"))
    rules.keeps = [k](OpBuilder &b, Location loc, const RankedSlot &at, Candidate) -> Value {
      Value own = arith::IndexCastOp::create(b, loc, b.getIndexType(), buildParameterAt(b, loc, k, at.token));
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, at.slot, own);
    };
  return buildRankedChoice(builder, loc, input.scores, getK(), rules);
}

//===----------------------------------------------------------------------===//
// group_limited_top_k
//===----------------------------------------------------------------------===//

LogicalResult GroupLimitedTopKAttr::verify(EmitError emitError, int64_t k, int64_t groups, int64_t keep, GroupScore,
                                           FloatAttr excluded) {
  if (failed(verifyAtLeastOne(emitError, "k", k)) || failed(verifyAtLeastOne(emitError, "groups", groups)) ||
      failed(verifyAtLeastOne(emitError, "keep", keep)))
    return failure();
  if (keep > groups)
    return emitError() << "expected keep to be at most the number of groups " << groups << ", got " << keep;
  if (excluded && !excluded.getType().isF32())
    return emitError() << "expected 'excluded' to be an f32, got " << excluded;
  return success();
}

int64_t GroupLimitedTopKAttr::getSlots(int64_t) const { return getK(); }
bool GroupLimitedTopKAttr::isTokenIndependent() const { return true; }
bool GroupLimitedTopKAttr::mayLeaveSlotsEmpty(bool) const { return false; }
std::string GroupLimitedTopKAttr::describe() const {
  return plural(getK(), "expert") + " with the highest score within the best " + std::to_string(getKeep()) + " of " +
         std::to_string(getGroups()) + " groups";
}

SmallVector<PolicyParameter> GroupLimitedTopKAttr::getParameters(int64_t) const {
  if (getJudge() != GroupScore::given)
    return {};
  return {{"group_scores", {kTokens, getGroups()}}};
}

LogicalResult GroupLimitedTopKAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  if (failed(verifyGroups(emitError, getGroups(), experts)))
    return failure();
  int64_t available = experts / getGroups() * getKeep();
  if (getK() > available)
    return emitError() << "expected k to be at most the " << available << " experts of the kept groups, got " << getK();
  return success();
}

/// `tensor<TxG>`: what each group is judged by.
static Value buildGroupScores(OpBuilder &builder, Location loc, Value scores, int64_t groups, bool topTwo) {
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(builder, loc, value); };
  int64_t size = cast<RankedTensorType>(scores.getType()).getDimSize(1) / groups;
  Value zero = constant(0), one = constant(1), groupSize = constant(size);
  Value none = constant(-1);
  Value noScore = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0f));
  SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(builder, loc, scores, 0), builder.getIndexAttr(groups)};
  Value empty = tensor::EmptyOp::create(builder, loc, sizes, builder.getF32Type());
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  auto group = [&](OpBuilder &b, Location loc, Value token, Value index, Value all) -> Value {
    Value begin = arith::MulIOp::create(b, loc, index, groupSize);
    Value end = arith::AddIOp::create(b, loc, begin, groupSize);
    Candidate best = buildNextBest(b, loc, scores, token, begin, end, {none, noScore});
    Value judged = best.score;
    if (topTwo && size > 1) {
      Candidate second = buildNextBest(b, loc, scores, token, begin, end, best);
      judged = arith::AddFOp::create(b, loc, judged, second.score);
    }
    return tensor::InsertOp::create(b, loc, judged, all, ValueRange{token, index});
  };
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, empty, [&](OpBuilder &b, Location loc, Value token, ValueRange state) {
        auto overGroups = scf::ForOp::create(b, loc, zero, constant(groups), one, state,
                                             [&](OpBuilder &b, Location loc, Value index, ValueRange state) {
                                               scf::YieldOp::create(b, loc, group(b, loc, token, index, state[0]));
                                             });
        scf::YieldOp::create(b, loc, overGroups.getResults());
      });
  return overTokens.getResult(0);
}

/// `scores` where the expert's group is among `kept` (`tensor<Tx?xi32>`), `excluded` elsewhere.
static Value buildKeptScores(OpBuilder &builder, Location loc, Value scores, Value kept, int64_t size,
                             FloatAttr excluded) {
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(builder, loc, value); };
  Value zero = constant(0), one = constant(1), groupSize = constant(size);
  Value keep = constant(cast<RankedTensorType>(kept.getType()).getDimSize(1));
  Value none = buildFilledLike(builder, loc, scores, excluded);
  Value tokens = tensor::DimOp::create(builder, loc, scores, 0);
  auto copyGroup = [&](OpBuilder &b, Location loc, Value token, Value slot, Value all) -> Value {
    Value id = tensor::ExtractOp::create(b, loc, kept, ValueRange{token, slot});
    Value begin = arith::MulIOp::create(b, loc, arith::IndexCastOp::create(b, loc, b.getIndexType(), id), groupSize);
    Value end = arith::AddIOp::create(b, loc, begin, groupSize);
    auto loop = scf::ForOp::create(b, loc, begin, end, one, all,
                                   [&](OpBuilder &b, Location loc, Value expert, ValueRange state) {
                                     SmallVector<Value> place = {token, expert};
                                     Value score = tensor::ExtractOp::create(b, loc, scores, place);
                                     Value next = tensor::InsertOp::create(b, loc, score, state[0], place);
                                     scf::YieldOp::create(b, loc, next);
                                   });
    return loop.getResult(0);
  };
  auto overTokens = scf::ForOp::create(
      builder, loc, zero, tokens, one, none, [&](OpBuilder &b, Location loc, Value token, ValueRange state) {
        auto overKept = scf::ForOp::create(b, loc, zero, keep, one, state,
                                           [&](OpBuilder &b, Location loc, Value slot, ValueRange state) {
                                             scf::YieldOp::create(b, loc, copyGroup(b, loc, token, slot, state[0]));
                                           });
        scf::YieldOp::create(b, loc, overKept.getResults());
      });
  return overTokens.getResult(0);
}

Choice GroupLimitedTopKAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  int64_t size = cast<RankedTensorType>(input.scores.getType()).getDimSize(1) / getGroups();
  Value groupScores = input.lookup("group_scores");
  if (!groupScores)
    groupScores = buildGroupScores(builder, loc, input.scores, getGroups(), getJudge() == GroupScore::top2_sum);
  Value kept = buildRankedChoice(builder, loc, groupScores, getKeep()).first;
  FloatAttr excluded = getExcluded();
  if (!excluded)
    excluded = builder.getF32FloatAttr(-std::numeric_limits<float>::infinity());
  Value scores = buildKeptScores(builder, loc, input.scores, kept, size, excluded);
  return {buildRankedChoice(builder, loc, scores, getK()).first, Value()};
}

//===----------------------------------------------------------------------===//
// per_group_top_k
//===----------------------------------------------------------------------===//

LogicalResult PerGroupTopKAttr::verify(EmitError emitError, int64_t k, int64_t groups) {
  return success(succeeded(verifyAtLeastOne(emitError, "k", k)) &&
                 succeeded(verifyAtLeastOne(emitError, "groups", groups)));
}

int64_t PerGroupTopKAttr::getSlots(int64_t) const { return getK() * getGroups(); }
bool PerGroupTopKAttr::isTokenIndependent() const { return true; }
bool PerGroupTopKAttr::mayLeaveSlotsEmpty(bool) const { return false; }
std::string PerGroupTopKAttr::describe() const {
  return plural(getK(), "expert") + " with the highest score in each of " + std::to_string(getGroups()) + " groups";
}

LogicalResult PerGroupTopKAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  if (failed(verifyGroups(emitError, getGroups(), experts)))
    return failure();
  if (getK() > experts / getGroups())
    return emitError() << "expected k to be at most the " << experts / getGroups() << " experts of a group, got "
                       << getK();
  return success();
}

Choice PerGroupTopKAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  int64_t size = cast<RankedTensorType>(input.scores.getType()).getDimSize(1) / getGroups();
  RankedRules rules;
  rules.range = [size, k = getK()](OpBuilder &b, Location loc, Value slot) -> std::tuple<Value, Value, Value> {
    Value perGroup = arith::ConstantIndexOp::create(b, loc, k);
    Value groupSize = arith::ConstantIndexOp::create(b, loc, size);
    Value group = arith::DivUIOp::create(b, loc, slot, perGroup);
    Value begin = arith::MulIOp::create(b, loc, group, groupSize);
    Value end = arith::AddIOp::create(b, loc, begin, groupSize);
    return {begin, end, buildFirstSlot(b, loc, arith::RemUIOp::create(b, loc, slot, perGroup))};
  };
  return buildRankedChoice(builder, loc, input.scores, getSlots(0), rules);
}

//===----------------------------------------------------------------------===//
// top_p, gap
//===----------------------------------------------------------------------===//

LogicalResult TopPAttr::verify(EmitError emitError, int64_t slots) {
  return verifyAtLeastOne(emitError, "slots", slots);
}
int64_t TopPAttr::getSlots(int64_t) const { return getSlots(); }
bool TopPAttr::isTokenIndependent() const { return true; }
bool TopPAttr::mayLeaveSlotsEmpty(bool) const { return true; }
std::string TopPAttr::describe() const {
  return "the experts with the highest scores, up to and including the one with which their sum passes p, at most " +
         std::to_string(getSlots());
}
SmallVector<PolicyParameter> TopPAttr::getParameters(int64_t) const { return {{"p", {kTokens}}}; }
LogicalResult TopPAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  return verifyAtMostExperts(emitError, "slots", getSlots(), experts);
}

Choice TopPAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  RankedRules rules;
  rules.keeps = [p = input.lookup("p")](OpBuilder &b, Location loc, const RankedSlot &at, Candidate) -> Value {
    Value bound = buildParameterAt(b, loc, p, at.token);
    Value passed = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, at.sum, bound);
    return arith::OrIOp::create(b, loc, buildFirstSlot(b, loc, at.slot), buildNot(b, loc, passed));
  };
  return buildRankedChoice(builder, loc, input.scores, getSlots(), rules);
}

int64_t GapAttr::getSlots(int64_t) const { return 2; }
bool GapAttr::isTokenIndependent() const { return true; }
bool GapAttr::mayLeaveSlotsEmpty(bool) const { return true; }
std::string GapAttr::describe() const {
  return "the expert with the highest score, and the second unless the first leads by more than the gap";
}
SmallVector<PolicyParameter> GapAttr::getParameters(int64_t) const { return {{"gap", {kTokens}}}; }
LogicalResult GapAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  return verifyAtMostExperts(emitError, "the number of slots", 2, experts);
}

Choice GapAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  RankedRules rules;
  rules.keeps = [gap = input.lookup("gap")](OpBuilder &b, Location loc, const RankedSlot &at, Candidate next) -> Value {
    Value lead = arith::SubFOp::create(b, loc, at.last.score, next.score);
    Value clear =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, lead, buildParameterAt(b, loc, gap, at.token));
    return arith::OrIOp::create(b, loc, buildFirstSlot(b, loc, at.slot), buildNot(b, loc, clear));
  };
  return buildRankedChoice(builder, loc, input.scores, 2, rules);
}

//===----------------------------------------------------------------------===//
// threshold
//===----------------------------------------------------------------------===//

LogicalResult ThresholdAttr::verify(EmitError emitError, int64_t slots, Fallback, bool) {
  return verifyAtLeastOne(emitError, "slots", slots);
}
int64_t ThresholdAttr::getSlots(int64_t) const { return getSlots(); }
bool ThresholdAttr::isTokenIndependent() const { return true; }
bool ThresholdAttr::mayLeaveSlotsEmpty(bool) const { return true; }
std::string ThresholdAttr::describe() const {
  return std::string("every expert whose score ") + (getInclusive() ? "reaches" : "exceeds") +
         " its threshold, highest first, at most " + std::to_string(getSlots());
}
StringRef ThresholdAttr::whenNothingQualifies() const {
  return getOtherwise() == Fallback::best ? "it gets the expert with the highest score" : "it gets no expert";
}
SmallVector<PolicyParameter> ThresholdAttr::getParameters(int64_t experts) const {
  return {{"thresholds", {kTokens, experts}}};
}
LogicalResult ThresholdAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  return verifyAtMostExperts(emitError, "slots", getSlots(), experts);
}

Choice ThresholdAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  Value scores = input.scores, thresholds = input.lookup("thresholds");
  auto predicate = getInclusive() ? arith::CmpFPredicate::OGE : arith::CmpFPredicate::OGT;
  auto passes = [=](OpBuilder &b, Location loc, Value token, Candidate next) -> Value {
    Value own = buildParameterAt(b, loc, thresholds, {token, next.index});
    return arith::CmpFOp::create(b, loc, predicate, next.score, own);
  };
  RankedRules rules;
  if (getOtherwise() == Fallback::nothing) {
    rules.qualifies = [=](OpBuilder &b, Location loc, const RankedSlot &at, Candidate next) {
      return passes(b, loc, at.token, next);
    };
    return buildRankedChoice(builder, loc, scores, getSlots(), rules);
  }
  // The token's fact: whether any expert passes. If none does, all may be chosen, but for the first slot only.
  rules.prepare = [=](OpBuilder &b, Location loc, Value token) -> SmallVector<Value> {
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    Value none = arith::ConstantOp::create(b, loc, b.getBoolAttr(false));
    Value experts = constant(cast<RankedTensorType>(scores.getType()).getDimSize(1));
    auto loop = scf::ForOp::create(b, loc, constant(0), experts, constant(1), none,
                                   [&](OpBuilder &b, Location loc, Value expert, ValueRange any) {
                                     Value score = tensor::ExtractOp::create(b, loc, scores, ValueRange{token, expert});
                                     Value own = passes(b, loc, token, {expert, score});
                                     scf::YieldOp::create(b, loc, arith::OrIOp::create(b, loc, any[0], own).getResult());
                                   });
    return {loop.getResult(0)};
  };
  rules.qualifies = [=](OpBuilder &b, Location loc, const RankedSlot &at, Candidate next) -> Value {
    Value fallback = arith::AndIOp::create(b, loc, buildNot(b, loc, at.facts[0]), buildFirstSlot(b, loc, at.slot));
    return arith::OrIOp::create(b, loc, passes(b, loc, at.token, next), fallback);
  };
  return buildRankedChoice(builder, loc, scores, getSlots(), rules);
}

//===----------------------------------------------------------------------===//
// ranks
//===----------------------------------------------------------------------===//

LogicalResult RanksAttr::verify(EmitError emitError, ArrayRef<int64_t> ranks) {
  if (ranks.empty())
    return emitError() << "expected at least one rank";
  int64_t previous = -1;
  for (int64_t rank : ranks) {
    if (rank <= previous)
      return emitError() << "expected ranks to ascend from 0, got " << rank << " after " << previous;
    previous = rank;
  }
  return success();
}

int64_t RanksAttr::getSlots(int64_t) const { return getRanks().size(); }
bool RanksAttr::isTokenIndependent() const { return true; }
bool RanksAttr::mayLeaveSlotsEmpty(bool) const { return false; }
std::string RanksAttr::describe() const {
  std::string ranks;
  llvm::raw_string_ostream out(ranks);
  llvm::interleaveComma(getRanks(), out);
  return "the experts at ranks " + ranks + " among its scores, 0 being the highest";
}
LogicalResult RanksAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  if (getRanks().back() >= experts)
    return emitError() << "expected ranks below the number of experts " << experts << ", got " << getRanks().back();
  return success();
}

Choice RanksAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  auto [ids, weights] = buildRankedChoice(builder, loc, input.scores, getRanks().back() + 1);
  if (getRanks().back() + 1 == int64_t(getRanks().size()))
    return {ids, weights};
  OpFoldResult tokens = tensor::getMixedSize(builder, loc, input.scores, 0);
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  auto pick = [&](Value all) {
    Type element = cast<RankedTensorType>(all.getType()).getElementType();
    OpFoldResult slots = builder.getIndexAttr(getRanks().size());
    Value picked = tensor::EmptyOp::create(builder, loc, ArrayRef{tokens, slots}, element);
    for (auto [slot, rank] : llvm::enumerate(getRanks())) {
      SmallVector<OpFoldResult> sizes = {tokens, one}, strides = {one, one};
      Value column = tensor::ExtractSliceOp::create(
          builder, loc, all, ArrayRef<OpFoldResult>{zero, builder.getIndexAttr(rank)}, sizes, strides);
      picked = tensor::InsertSliceOp::create(builder, loc, column, picked,
                                             ArrayRef<OpFoldResult>{zero, builder.getIndexAttr(slot)}, sizes, strides);
    }
    return picked;
  };
  Value pickedIds = pick(ids);
  return {pickedIds, pick(weights)};
}

//===----------------------------------------------------------------------===//
// sequential_masked
//===----------------------------------------------------------------------===//

LogicalResult SequentialMaskedAttr::verify(EmitError emitError, int64_t k, FloatAttr jitter) {
  if (!jitter.getType().isF32() || jitter.getValue().isNaN() || jitter.getValue().isNegative())
    return emitError() << "expected 'jitter' to be an f32, 0 or more, got " << jitter;
  return verifyAtLeastOne(emitError, "k", k);
}

int64_t SequentialMaskedAttr::getSlots(int64_t) const { return getK(); }
bool SequentialMaskedAttr::isTokenIndependent() const { return true; }
bool SequentialMaskedAttr::mayLeaveSlotsEmpty(bool) const { return false; }
bool SequentialMaskedAttr::givesOwnWeights() const { return true; }
std::string SequentialMaskedAttr::describe() const {
  return plural(getK(), "expert") +
         " with the highest score, picked one after the other, each weighed by its share among those close to it";
}
LogicalResult SequentialMaskedAttr::verifyExperts(int64_t experts, EmitError emitError) const {
  return verifyAtMostExperts(emitError, "k", getK(), experts);
}

Choice SequentialMaskedAttr::buildSelection(OpBuilder &builder, Location loc, const SelectionInput &input) const {
  Value scores = input.scores;
  float width = 2.0f * getJitter().getValue().convertToFloat();
  RankedRules rules;
  rules.weigh = [=](OpBuilder &b, Location loc, const RankedSlot &at, Candidate best) -> Value {
    auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
    Value none = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0.0f));
    Value bound = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(width));
    Value experts = constant(cast<RankedTensorType>(scores.getType()).getDimSize(1));
    auto sum = scf::ForOp::create(
        b, loc, constant(0), experts, constant(1), none,
        [&](OpBuilder &b, Location loc, Value expert, ValueRange sum) {
          Value score = tensor::ExtractOp::create(b, loc, scores, ValueRange{at.token, expert});
          // Left: whoever was not picked before. Those are the ones after the last pick.
          Value left = arith::OrIOp::create(b, loc, buildFirstSlot(b, loc, at.slot),
                                            buildComesBefore(b, loc, at.last, {expert, score}));
          Value behind = arith::SubFOp::create(b, loc, best.score, score);
          Value size = arith::MaximumFOp::create(b, loc, math::AbsFOp::create(b, loc, score), best.score);
          Value share = arith::DivFOp::create(b, loc, behind, size);
          Value far = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, share, bound);
          Value counts = arith::AndIOp::create(b, loc, left, buildNot(b, loc, far));
          Value term = math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, score, best.score));
          Value added = arith::AddFOp::create(b, loc, sum[0], arith::SelectOp::create(b, loc, counts, term, none));
          scf::YieldOp::create(b, loc, added);
        });
    Value own = math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, best.score, best.score));
    return arith::DivFOp::create(b, loc, own, sum.getResult(0));
  };
  return buildRankedChoice(builder, loc, scores, getK(), rules);
}
