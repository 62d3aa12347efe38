//===- Plan.cpp - moe.plan as the call of a function ----------------------===//
//
// How pairs are sorted without an order of threads is said on buffers, by moe-gpu-lower-plans. Until then a private
// function stands for it, which on tensors gives back what it was handed for its results.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace mlir::moe;

/// The function of the module that stands for plans with these arguments: ids, offsets, tokens, slots.
static func::FuncOp getPlanFunction(OpBuilder &builder, ModuleOp module, ValueRange arguments) {
  TypeRange types = arguments.getTypes();
  auto type = builder.getFunctionType(types, types.drop_front());
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(kPlanAttr) && function.getFunctionType() == type)
      return function;
  std::string name = "plan";
  for (unsigned number = 1; module.lookupSymbol(name); ++number)
    name = "plan_" + std::to_string(number);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(module.getBody());
  auto function = func::FuncOp::create(builder, module.getLoc(), name, type);
  function.setPrivate();
  function->setAttr(kPlanAttr, builder.getUnitAttr());
  for (unsigned index = 0; index < types.size(); ++index)
    function.setArgAttr(index, "bufferization.access", builder.getStringAttr(index ? "write" : "read"));
  builder.setInsertionPointToStart(function.addEntryBlock());
  func::ReturnOp::create(builder, module.getLoc(), ValueRange(function.getArguments()).drop_front());
  return function;
}

namespace {
struct LowerPlan : public OpConversionPattern<PlanOp> {
  LowerPlan(const TypeConverter &converter, MLIRContext *context, bool recordLoad)
      : OpConversionPattern(converter, context, kElementBenefit), recordLoad(recordLoad) {}

  LogicalResult matchAndRewrite(PlanOp op, OneToNOpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value ids = adaptor.getRouting()[0];
    OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, ids, 0);
    OpFoldResult slots = tensor::getMixedSize(rewriter, loc, ids, 1);
    Value pairs = rewriter.createOrFold<arith::MulIOp>(loc, getValueOrCreateConstantIndexOp(rewriter, loc, tokens),
                                                       getValueOrCreateConstantIndexOp(rewriter, loc, slots));
    OpFoldResult experts = rewriter.getIndexAttr(op.getRouting().getType().getExperts() + 1);
    auto empty = [&](ArrayRef<OpFoldResult> sizes) -> Value {
      return tensor::EmptyOp::create(rewriter, loc, sizes, rewriter.getIndexType());
    };
    Value arguments[] = {ids, empty(experts), empty(getAsOpFoldResult(pairs)), empty({tokens, slots})};
    func::FuncOp function = getPlanFunction(rewriter, op->getParentOfType<ModuleOp>(), arguments);
    auto call = func::CallOp::create(rewriter, loc, function, arguments);
    if (recordLoad)
      buildRecordLoad(rewriter, loc, call.getResult(0));
    SmallVector<Value> results;
    for (auto [value, result] : llvm::zip_equal(call.getResults(), op.getResults()))
      results.push_back(rewriter.createOrFold<tensor::CastOp>(loc, result.getType(), value));
    rewriter.replaceOp(op, results);
    return success();
  }
  bool recordLoad;
};
} // namespace

void moe::populatePlanKernelPatterns(const TypeConverter &converter, RewritePatternSet &patterns, bool recordLoad) {
  patterns.add<LowerPlan>(converter, patterns.getContext(), recordLoad);
}
