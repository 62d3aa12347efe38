//===- RoutingFacts.h - What is known of a routing --------------*- C++ -*-===//
//
// Whether each token is decided alone, followed through the values that a routing is made from; and what its policy says.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_ROUTINGFACTS_H
#define MOE_DIALECT_MOE_TRANSFORMS_ROUTINGFACTS_H

#include "moe/Dialect/MoE/IR/MoE.h"

namespace mlir::moe {

/// Whether the decision for one token can change when other tokens do.
enum class Independence {
  /// It cannot: the token's own rows decide.
  Alone,
  /// It comes from outside, row by row: what made it is not known here.
  Given,
  /// It cannot, as long as its own rows of something stay the same that is computed in a way that is not followed:
  /// loops, such as those of attention.
  Local,
  /// It can: tokens compete, or something is computed over several of them.
  Coupled,
  /// It may: rows of several tokens meet, or all rows of something are read that may be those of other tokens.
  Unknown,
};

struct RoutingFacts {
  Independence independence = Independence::Alone;
  /// Why, in plain words.
  std::string reason;
  /// Whether a token may have fewer experts than slots.
  bool mayBeEmpty = false;
  /// Who chose: the select that decided, where there is one.
  SelectOp decision;
};

/// What is known of `routing`.
RoutingFacts computeRoutingFacts(Value routing);

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_ROUTINGFACTS_H
