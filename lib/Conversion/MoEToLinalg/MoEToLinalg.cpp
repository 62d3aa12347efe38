//===- MoEToLinalg.cpp - convert-moe-to-linalg ----------------------------===//
//
// The type conversion, the conversion target and the driver; the patterns stand
// in a file per operation.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Conversion/Passes.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOLINALGPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

MoETypeConverter::MoETypeConverter() {
  addConversion([](Type type) { return type; });
  addConversion([](RoutingType type, SmallVectorImpl<Type> &types) {
    types.append({type.getIdsType(), type.getWeightsType()});
    return success();
  });
  addConversion([](BankType type, SmallVectorImpl<Type> &types) {
    llvm::append_range(types, type.getComponents());
    return success();
  });
}

Value moe::buildZeros(OpBuilder &builder, Location loc, Type elementType,
                      ArrayRef<OpFoldResult> sizes) {
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(elementType));
  Value empty = tensor::EmptyOp::create(builder, loc, sizes, elementType);
  return linalg::FillOp::create(builder, loc, zero, empty).getResult(0);
}

void moe::populateMoEToLinalgPatterns(const TypeConverter &converter,
                                      RewritePatternSet &patterns,
                                      bool recordLoad) {
  populateFunctionPatterns(converter, patterns);
  populateTuplePatterns(converter, patterns);
  populateSelectPatterns(converter, patterns);
  populateRoutingPatterns(converter, patterns);
  populatePlanPatterns(converter, patterns, recordLoad);
  populateGatherPatterns(converter, patterns);
  populateSoftmaxPatterns(patterns);
  populateGroupedMatmulPatterns(converter, patterns);
  populateCombinePatterns(converter, patterns);
  populateExpertsPatterns(converter, patterns, recordLoad);
}

/// Every global of a bank needs a recipe per component, else there is nothing
/// to split it into.
static LogicalResult checkBankGlobals(ModuleOp module) {
  WalkResult result = module.walk([](ml_program::GlobalOp global) {
    auto bank = dyn_cast<BankType>(global.getType());
    if (!bank)
      return WalkResult::advance();
    Attribute value = global.getValueAttr();
    SmallVector<RecipeAttrInterface> recipes;
    if (auto recipe = dyn_cast_or_null<RecipeAttrInterface>(value))
      recipes.push_back(recipe);
    else if (auto bankRecipe = dyn_cast_or_null<BankRecipeAttr>(value))
      llvm::append_range(recipes, bankRecipe.getComponents());
    if (recipes.size() != bank.getComponents().size()) {
      global.emitError() << "expected a recipe for each of the "
                         << bank.getComponents().size()
                         << " components of bank '" << global.getSymName()
                         << "', got " << recipes.size();
      return WalkResult::interrupt();
    }
    for (auto [recipe, type] : llvm::zip(recipes, bank.getComponents()))
      if (recipe.getTensorType() != type) {
        global.emitError() << "expected the recipe of '" << global.getSymName()
                           << "' to make a " << type << ", got "
                           << recipe.getTensorType();
        return WalkResult::interrupt();
      }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// A product needs weights that widen to f32; what else a bank may hold, a pass
/// must have turned into that before.
static LogicalResult checkProducts(ModuleOp module) {
  WalkResult result = module.walk([](GroupedMatmulOp op) {
    for (Value bank : op.getBanks()) {
      auto type = cast<BankType>(bank.getType());
      Type element = type.getData().getElementType();
      if (type.getComponents().size() == 1 &&
          (element.isF32() || element.isF16() || element.isBF16()))
        continue;
      InFlightDiagnostic diagnostic =
          op.emitOpError("expected banks of one component of f32, f16 or bf16, "
                         "got ")
          << type;
      diagnostic.attachNote(bank.getLoc()) << "the bank is made here";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// Declares the function that plans report to.
static LogicalResult declareRecordLoad(ModuleOp module) {
  OpBuilder builder(module.getBodyRegion());
  Type offsets =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getIndexType());
  auto type = builder.getFunctionType({offsets}, {});
  if (Operation *existing = module.lookupSymbol(kRecordLoadFunction)) {
    auto function = dyn_cast<func::FuncOp>(existing);
    if (function && function.isDeclaration() &&
        function.getFunctionType() == type)
      return success();
    return existing->emitError("expected the name '")
           << kRecordLoadFunction
           << "' to be free for the function that records loads";
  }
  auto function =
      func::FuncOp::create(builder, module.getLoc(), kRecordLoadFunction, type);
  function.setPrivate();
  // It only reads: the plan need not be copied for it.
  function.setArgAttr(0, "bufferization.access", builder.getStringAttr("read"));
  return success();
}

LogicalResult moe::convertMoE(ModuleOp module, bool recordLoad, MorePatterns populate) {
  if (failed(checkBankGlobals(module)) || failed(checkProducts(module)))
    return failure();
  bool plans = module
                   .walk([](Operation *op) {
                     return isa<PlanOp, ExpertsOp>(op)
                                ? WalkResult::interrupt()
                                : WalkResult::advance();
                   })
                   .wasInterrupted();
  if (recordLoad && plans && failed(declareRecordLoad(module)))
    return failure();

  // What becomes of an operation is called after it.
  module.walk([](Operation *op) {
    if (isa_and_present<MoEDialect>(op->getDialect()))
      nameAfterOperation(op);
  });
  MLIRContext *context = module.getContext();
  MoETypeConverter converter;
  RewritePatternSet patterns(context);
  ConversionTarget target(*context);
  target.addIllegalDialect<MoEDialect>();
  target.addIllegalOp<linalg::SoftmaxOp>();
  target.addDynamicallyLegalOp<func::FuncOp>([&](func::FuncOp op) {
    return converter.isSignatureLegal(op.getFunctionType());
  });
  target.addDynamicallyLegalOp<ml_program::GlobalOp>(
      [&](ml_program::GlobalOp op) { return converter.isLegal(op.getType()); });
  target.markUnknownOpDynamicallyLegal(
      [&](Operation *op) { return converter.isLegal(op); });
  populateMoEToLinalgPatterns(converter, patterns, recordLoad);
  if (populate)
    populate(converter, patterns);
  scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns,
                                                       target);
  return applyPartialConversion(module, target, std::move(patterns));
}

namespace {
struct ConvertMoEToLinalgPass
    : public moe::impl::ConvertMoEToLinalgPassBase<ConvertMoEToLinalgPass> {
  using ConvertMoEToLinalgPassBase::ConvertMoEToLinalgPassBase;

  void runOnOperation() override {
    if (failed(convertMoE(getOperation(), recordLoad)))
      signalPassFailure();
  }
};
} // namespace
