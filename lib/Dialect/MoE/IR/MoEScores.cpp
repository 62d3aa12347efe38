//===- MoEScores.cpp - Scores: router logits to scores --------------------===//
//
// The reference form of each score attribute, as plain linalg on tensors.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/IR/Builders.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::moe;

Value SoftmaxAttr::buildScores(OpBuilder &builder, Location loc, Value logits) const {
  return buildRowSoftmax(builder, loc, logits);
}

Value SigmoidAttr::buildScores(OpBuilder &builder, Location loc, Value logits) const {
  return buildElementwise(builder, loc, {logits}, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value one = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1.0f));
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x[0]));
    return arith::DivFOp::create(b, loc, one, arith::AddFOp::create(b, loc, one, e));
  });
}

Value IdentityAttr::buildScores(OpBuilder &, Location, Value logits) const { return logits; }
