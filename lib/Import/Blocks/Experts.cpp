//===- Experts.cpp - Routed and shared experts ----------------------------===//
//
// One bank per matrix and per bias; a shared expert beside them.
//
//===----------------------------------------------------------------------===//

#include "Blocks.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Each row times its own weight.
Value buildScaledRows(ImplicitLocOpBuilder &builder, Value rows,
                      Value weights) {
  Value empty = tensor::EmptyOp::create(
      builder, tensor::getMixedSizes(builder, builder.getLoc(), rows),
      builder.getF32Type());
  AffineMap full = builder.getMultiDimIdentityMap(2);
  return buildGeneric(builder, {rows, weights}, empty,
                      {full, full.dropResult(1), full}, /*reductions=*/0,
                      [](OpBuilder &b, Location loc, ValueRange x) -> Value {
                        return arith::MulFOp::create(b, loc, x[0], x[1]);
                      });
}

Value buildRouted(FunctionScope &scope, Value rows, Value routing,
                  const Experts &experts) {
  FunctionScope::Block block(scope, "experts");
  ImplicitLocOpBuilder &builder = scope.builder;
  // The banks, and for each where its expert's part goes in the body.
  MLPWeights weights;
  SmallVector<Value> banks;
  SmallVector<Value *> parts;
  auto add = [&](const Weight &bank, ArrayRef<int64_t> shape, Value &part) {
    if (bank.empty())
      return;
    SmallVector<int64_t> bankShape{experts.experts};
    llvm::append_range(bankShape, shape);
    banks.push_back(scope.getBank(bank, bankShape));
    parts.push_back(&part);
  };
  add(experts.gate, {experts.width, experts.hidden}, weights.gate);
  add(experts.gateBias, {experts.width}, weights.gateBias);
  add(experts.up, {experts.width, experts.hidden}, weights.up);
  add(experts.upBias, {experts.width}, weights.upBias);
  add(experts.down, {experts.hidden, experts.width}, weights.down);
  add(experts.downBias, {experts.hidden}, weights.downBias);

  MLIRContext *context = builder.getContext();
  CombineAttrInterface combine = WeightedSumAttr::get(context);
  if (experts.weighsInputs)
    combine = SumAttr::get(context);
  auto op = ExpertsOp::create(builder, rows.getType(), rows, routing, banks,
                              combine, experts.weighsInputs);
  SmallVector<Type> types{rows.getType()};
  if (experts.weighsInputs)
    types.push_back(
        RankedTensorType::get({ShapedType::kDynamic}, builder.getF32Type()));
  for (Value bank : banks)
    llvm::append_range(types, cast<BankType>(bank.getType()).getExpertTypes());
  OpBuilder::InsertionGuard guard(builder);
  Block *body = builder.createBlock(
      &op.getBodies().front(), {}, types,
      SmallVector<Location>(types.size(), builder.getLoc()));
  for (auto [part, argument] :
       llvm::zip_equal(parts, body->getArguments().take_back(parts.size())))
    *part = argument;
  Value input = body->getArgument(0);
  if (experts.weighsInputs)
    input = buildScaledRows(builder, input, body->getArgument(1));
  Value result = buildGatedMLP(builder, input, weights, experts.gating);
  YieldOp::create(builder, result);
  return op.getResult();
}

/// routed + mlp(rows), or routed + sigmoid(gate(rows)) * mlp(rows).
Value buildShared(FunctionScope &scope, Value rows, Value routed,
                  const SharedExpert &shared) {
  FunctionScope::Block block(scope, "shared_expert");
  ImplicitLocOpBuilder &builder = scope.builder;
  Value output = buildGatedMLP(scope, rows, shared.mlp);
  if (!shared.gate)
    return buildResidualAdd(builder, routed, output);
  Value gate = buildElementwise(builder, builder.getLoc(),
                                buildLinear(scope, rows, *shared.gate),
                                [](OpBuilder &b, Location loc, ValueRange x) {
                                  return buildSigmoid(b, loc, x[0]);
                                });
  AffineMap full = builder.getMultiDimIdentityMap(2);
  gate = tensor::CollapseShapeOp::create(
      builder, gate, ArrayRef<ReassociationIndices>{{0, 1}});
  return buildGeneric(
      builder, {output, gate}, routed, {full, full.dropResult(1), full},
      /*reductions=*/0, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
        return arith::AddFOp::create(b, loc, x[2],
                                     arith::MulFOp::create(b, loc, x[1], x[0]));
      });
}

} // namespace

Value mlir::moe::buildExperts(FunctionScope &scope, Value rows,
                              const Experts &experts) {
  Value routing = buildRouter(scope, rows, experts.router);
  Value routed = buildRouted(scope, rows, routing, experts);
  return experts.shared ? buildShared(scope, rows, routed, *experts.shared)
                        : routed;
}
