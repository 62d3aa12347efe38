//===- Parameters.cpp - Weights as views of one buffer --------------------===//
//
// Places each used weight in the weights file and turns its loads into views of
// the function's parameter argument.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/Passes.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/CheckedArithmetic.h"

namespace mlir::moe {
#define GEN_PASS_DEF_PARAMETERSPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

// The layout of the weights file, as include/moe/Runtime/Program.h fixes it.
static constexpr int64_t kSection = 4096;
static constexpr int64_t kAlignment = 64;

/// Bytes of a weight of `type`; nothing if that exceeds 64 bits.
static std::optional<int64_t> bytesOf(RankedTensorType type) {
  int64_t bytes = type.getElementTypeBitWidth() / 8;
  for (int64_t extent : type.getShape()) {
    std::optional<int64_t> product = llvm::checkedMul(bytes, extent);
    if (!product)
      return std::nullopt;
    bytes = *product;
  }
  return bytes;
}

/// The type of a global that can be a weight: static, of whole bytes, made by a
/// recipe.
static FailureOr<RankedTensorType> checkWeight(ml_program::GlobalOp global,
                                               Operation *load) {
  auto report = [&](const Twine &what) {
    InFlightDiagnostic diagnostic = global.emitError(what);
    diagnostic.attachNote(load->getLoc()) << "it is loaded here";
    return diagnostic;
  };
  if (global.getIsMutable())
    return report("expected an immutable global: mutable state has no place in "
                  "the weights file");
  auto type = dyn_cast<RankedTensorType>(global.getType());
  if (!type || !type.hasStaticShape() ||
      !type.getElementType().isIntOrFloat() ||
      type.getElementTypeBitWidth() % 8 != 0)
    return report("expected a weight to be a tensor of static shape whose "
                  "elements are whole bytes, got ")
           << global.getType();
  auto recipe = dyn_cast_or_null<RecipeAttrInterface>(global.getValueAttr());
  if (!recipe)
    return report("expected the global to have a recipe, such as "
                  "#moe.source<\"name\", type>, as value");
  if (recipe.getTensorType() != type)
    return report("expected the recipe to make a ")
           << type << ", got " << recipe.getTensorType();
  return type;
}

namespace {
struct ParametersPass : public moe::impl::ParametersPassBase<ParametersPass> {
  using ParametersPassBase::ParametersPassBase;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<ml_program::GlobalLoadConstOp> loads;
    llvm::SetVector<func::FuncOp> readers;
    if (failed(collectLoads(symbols, loads, readers)) ||
        failed(placeWeights(symbols, loads)))
      return signalPassFailure();
    addCallers(symbols, readers);
    for (func::FuncOp function : readers)
      addArgument(function);
    passArguments(symbols, readers);
    for (ml_program::GlobalLoadConstOp load : loads)
      replaceLoad(symbols, load);
  }

  /// The loads, in order, and the functions that hold them.
  LogicalResult
  collectLoads(SymbolTable &symbols,
               SmallVectorImpl<ml_program::GlobalLoadConstOp> &loads,
               llvm::SetVector<func::FuncOp> &readers) {
    WalkResult result =
        getOperation().walk([&](ml_program::GlobalLoadConstOp load) {
          auto function = load->getParentOfType<func::FuncOp>();
          auto global = symbols.lookup<ml_program::GlobalOp>(
              load.getGlobalAttr().getLeafReference());
          if (!function || !global ||
              function->getParentOp() != getOperation() ||
              !load.getGlobalAttr().getNestedReferences().empty()) {
            load.emitError("expected weights to be globals of this module, "
                           "loaded in its functions");
            return WalkResult::interrupt();
          }
          // An isolated region cannot see the function's argument.
          for (Operation *parent = load->getParentOp(); parent != function;
               parent = parent->getParentOp())
            if (parent->hasTrait<OpTrait::IsIsolatedFromAbove>()) {
              InFlightDiagnostic diagnostic = load.emitError(
                  "expected weights to be loaded outside of isolated regions");
              diagnostic.attachNote(parent->getLoc())
                  << "the region is that of '" << parent->getName() << "'";
              return WalkResult::interrupt();
            }
          loads.push_back(load);
          readers.insert(function);
          return WalkResult::advance();
        });
    return failure(result.wasInterrupted());
  }

  /// Gives each loaded global its offset, in the order of the module, and
  /// erases the others.
  LogicalResult placeWeights(SymbolTable &symbols,
                             ArrayRef<ml_program::GlobalLoadConstOp> loads) {
    llvm::DenseMap<Operation *, Operation *> used;
    for (ml_program::GlobalLoadConstOp load : loads)
      used.try_emplace(symbols.lookup(load.getGlobalAttr().getLeafReference()),
                       load);
    int64_t end = kSection, size = end;
    Builder builder(&getContext());
    for (auto global : llvm::make_early_inc_range(
             getOperation().getOps<ml_program::GlobalOp>())) {
      auto load = used.find(global);
      if (load == used.end()) {
        // What is stored to is state; only weights that nobody reads go.
        if (!global.getIsMutable() &&
            SymbolTable::symbolKnownUseEmpty(global, getOperation()) &&
            global.isPrivate())
          symbols.erase(global);
        continue;
      }
      FailureOr<RankedTensorType> type = checkWeight(global, load->second);
      if (failed(type))
        return failure();
      std::optional<int64_t> bytes = bytesOf(*type);
      std::optional<int64_t> next =
          bytes ? llvm::checkedAdd(end, *bytes) : std::nullopt;
      std::optional<int64_t> rounded =
          next ? llvm::checkedAdd(*next, kAlignment - 1) : std::nullopt;
      if (!rounded)
        return global.emitError("expected the weights file to stay below 2^63 "
                                "bytes; this weight of type ")
               << *type << " lies beyond";
      global->setAttr(MoEDialect::kOffsetAttr, builder.getI64IntegerAttr(end));
      size = *next;
      end = *rounded / kAlignment * kAlignment;
    }
    if (!loads.empty())
      getOperation()->setAttr(MoEDialect::kWeightsSizeAttr,
                              builder.getI64IntegerAttr(size));
    return success();
  }

  /// Adds to `readers` the functions that call one of them.
  void addCallers(SymbolTable &symbols,
                  llvm::SetVector<func::FuncOp> &readers) {
    llvm::MapVector<Operation *, SmallVector<func::FuncOp>> callers;
    getOperation().walk([&](func::CallOp call) {
      if (Operation *callee = symbols.lookup(call.getCallee()))
        if (auto caller = call->getParentOfType<func::FuncOp>())
          callers[callee].push_back(caller);
    });
    for (size_t next = 0; next < readers.size(); ++next)
      for (func::FuncOp caller : callers.lookup(readers[next]))
        readers.insert(caller);
  }

  void addArgument(func::FuncOp function) {
    Builder builder(&getContext());
    auto type = MemRefType::get({ShapedType::kDynamic}, builder.getI8Type());
    auto attributes = builder.getDictionaryAttr(
        {builder.getNamedAttr(MoEDialect::kNameAttr,
                              builder.getStringAttr("parameters")),
         builder.getNamedAttr(MoEDialect::kRoleAttr,
                              builder.getStringAttr("parameters"))});
    (void)function.insertArgument(0, type, attributes, function.getLoc());
  }

  /// Every call of a reader passes on the caller's own argument.
  void passArguments(SymbolTable &symbols,
                     const llvm::SetVector<func::FuncOp> &readers) {
    getOperation().walk([&](func::CallOp call) {
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      auto caller = call->getParentOfType<func::FuncOp>();
      if (callee && caller && readers.contains(callee))
        call->insertOperands(0, {caller.getArgument(0)});
    });
  }

  void replaceLoad(SymbolTable &symbols, ml_program::GlobalLoadConstOp load) {
    auto global = symbols.lookup<ml_program::GlobalOp>(
        load.getGlobalAttr().getLeafReference());
    auto type = cast<RankedTensorType>(global.getType());
    auto place = global->getAttrOfType<IntegerAttr>(MoEDialect::kOffsetAttr);
    IRRewriter rewriter(load);
    Location loc = load.getLoc();
    Value parameters = load->getParentOfType<func::FuncOp>().getArgument(0);
    Value offset =
        arith::ConstantIndexOp::create(rewriter, loc, place.getInt());
    auto viewType = MemRefType::get(type.getShape(), type.getElementType());
    Value view = memref::ViewOp::create(rewriter, loc, viewType, parameters,
                                        offset, ValueRange{});
    // Not writable: a write goes to a fresh buffer.
    rewriter.replaceOpWithNewOp<bufferization::ToTensorOp>(
        load, type, view, /*restrict=*/true, /*writable=*/false);
  }
};
} // namespace
