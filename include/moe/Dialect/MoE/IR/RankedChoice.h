//===- RankedChoice.h - Loops that choose by rank ---------------*- C++ -*-===//
//
// What most selection policies are made of: experts of a token in descending order of score.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_RANKEDCHOICE_H
#define MOE_DIALECT_MOE_IR_RANKEDCHOICE_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Value.h"

namespace mlir::moe {

/// An expert (or a group of them) and its score; index -1: none. Scores of none are 0.
struct Candidate {
  Value index, score;
};

/// Whether a comes before b: its score is higher, or b's is NaN and a's is not, or they tie and its index is lower.
Value buildComesBefore(OpBuilder &builder, Location loc, Candidate a, Candidate b);

/// The best of `scores[row, begin..end)` that comes after `last` (if that is one) and that `qualifies`, if given, says
/// may be chosen.
Candidate buildNextBest(OpBuilder &builder, Location loc, Value scores, Value row, Value begin, Value end,
                        Candidate last, llvm::function_ref<Value(OpBuilder &, Location, Candidate)> qualifies = {});

/// Where in a choice a rule is asked.
struct RankedSlot {
  Value token, slot;
  /// What the rules' `prepare` gave for the token.
  ValueRange facts;
  /// The last expert looked at before this slot.
  Candidate last;
  /// The scores of all experts kept before this slot, added in that order.
  Value sum;
};

/// What differs from "the highest scores in descending order". Rules left out change nothing.
struct RankedRules {
  /// Values of a token that the other rules need.
  std::function<SmallVector<Value>(OpBuilder &, Location, Value token)> prepare;
  /// Whether an expert may be chosen at all.
  std::function<Value(OpBuilder &, Location, const RankedSlot &, Candidate)> qualifies;
  /// Whether the slot is filled with the next best expert or left empty.
  std::function<Value(OpBuilder &, Location, const RankedSlot &, Candidate)> keeps;
  /// The experts [begin, end) a slot chooses from, and whether the order starts anew.
  std::function<std::tuple<Value, Value, Value>(OpBuilder &, Location, Value slot)> range;
  /// The raw weight, instead of the score.
  std::function<Value(OpBuilder &, Location, const RankedSlot &, Candidate)> weigh;
};

/// Fills `slots` slots of each token with experts, best first; gives {ids, weights}.
std::pair<Value, Value> buildRankedChoice(OpBuilder &builder, Location loc, Value scores, int64_t slots,
                                          const RankedRules &rules = {});

/// The entry of a parameter at `indices`, where an extent of 1 stands for all.
Value buildParameterAt(OpBuilder &builder, Location loc, Value parameter, ValueRange indices);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_RANKEDCHOICE_H
