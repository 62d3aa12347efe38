//===- GroupDense.cpp - moe-group-dense -----------------------------------===//
//
// Products with dense weights become grouped products of one group, and the weights banks of one matrix.
//
//===----------------------------------------------------------------------===//

#include "Missed.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_GROUPDENSEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using ml_program::GlobalLoadConstOp;
using ml_program::GlobalOp;

static constexpr llvm::StringLiteral kPass = "moe-group-dense";

namespace {
/// Follows weights from globals through the arguments of private functions to the products that read them, and turns
/// them into banks. State of one run.
class DenseWeights {
public:
  explicit DenseWeights(ModuleOp module) : module(module), rewriter(module.getContext()), symbols(module) {}

  /// Finds the products and the weights that can become banks, and reports the products that cannot be grouped.
  void analyse();
  /// Rewrites globals, loads, function types and products; gives the number of products.
  unsigned rewrite();

private:
  bool isConvertible(Value weight) const;
  bool isConvertibleUse(OpOperand &use) const;
  bool isConvertibleArgument(BlockArgument argument) const;
  BlockArgument getCalledArgument(OpOperand &use) const;
  GlobalOp getGlobal(Value load) const;
  Value getBank(Value weight);
  Value getOffsets(Value rows);
  void convertGlobal(GlobalOp global, ArrayRef<GlobalLoadConstOp> loads);
  void convertProduct(linalg::LinalgOp op);

  ModuleOp module;
  IRRewriter rewriter;
  SymbolTable symbols;
  SmallVector<linalg::LinalgOp> products;
  /// Operations that read a weight as the right side of a product, or widen it for that.
  llvm::DenseSet<Operation *> readers;
  /// Arguments of private functions that become banks, with the calls of those functions.
  llvm::SetVector<BlockArgument> arguments;
  llvm::DenseMap<Operation *, SmallVector<func::CallOp>> calls;
  llvm::DenseMap<Value, Value> banks;
  llvm::DenseMap<Value, Value> offsets;
};
} // namespace

static bool isDenseWeight(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && tensor.hasStaticShape() && tensor.getDimSize(0) > 0 &&
         tensor.getElementType().isFloat();
}

/// The type of a bank of one matrix `tensor`.
static BankType getBankType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  auto data = RankedTensorType::get({1, tensor.getDimSize(0), tensor.getDimSize(1)}, tensor.getElementType());
  return BankType::get(type.getContext(), {data});
}

/// The stored weight of a product: what is widened for it, if something is.
static Value getStored(Value weight) {
  Value stored = getWidened(weight);
  return stored ? stored : weight;
}

GlobalOp DenseWeights::getGlobal(Value load) const {
  auto op = load.getDefiningOp<GlobalLoadConstOp>();
  if (!op)
    return {};
  auto global = symbols.lookup<GlobalOp>(op.getGlobal().getRootReference());
  // Only what is made from a checkpoint by a recipe can be made in another form.
  if (!global || global.getType() != load.getType() ||
      !isa_and_nonnull<RecipeAttrInterface>(global.getValueAttr()))
    return {};
  return global;
}

BlockArgument DenseWeights::getCalledArgument(OpOperand &use) const {
  auto call = dyn_cast<func::CallOp>(use.getOwner());
  auto callee = call ? symbols.lookup<func::FuncOp>(call.getCallee()) : func::FuncOp();
  return callee && !callee.isExternal() ? callee.getArgument(use.getOperandNumber()) : BlockArgument();
}

bool DenseWeights::isConvertible(Value weight) const {
  if (auto argument = dyn_cast<BlockArgument>(weight))
    return arguments.contains(argument);
  return getGlobal(weight) != nullptr;
}

bool DenseWeights::isConvertibleUse(OpOperand &use) const {
  if (readers.contains(use.getOwner()))
    return true;
  BlockArgument argument = getCalledArgument(use);
  return argument && arguments.contains(argument);
}

/// Whether all that `argument` is used for and all that is passed for it can be a bank, given that all others of
/// `arguments` can.
bool DenseWeights::isConvertibleArgument(BlockArgument argument) const {
  if (argument.use_empty() || !llvm::all_of(argument.getUses(), [&](OpOperand &use) { return isConvertibleUse(use); }))
    return false;
  auto found = calls.find(argument.getOwner()->getParentOp());
  return found != calls.end() && llvm::all_of(found->second, [&](func::CallOp call) {
           return isConvertible(call.getOperand(argument.getArgNumber()));
         });
}

void DenseWeights::analyse() {
  module.walk([&](linalg::LinalgOp op) {
    auto contraction = matchContraction(op);
    if (!contraction)
      return;
    Value weight = contraction->weight->get(), stored = getStored(weight);
    if (!isDenseWeight(stored.getType()))
      return;
    if (!isZeroTensor(contraction->init->get()))
      return reportMissed(op, kPass, "the product is added to something else than zeros");
    // A weight may not be the rows as well, and a widened copy may have no other reader.
    auto isWeightOfProduct = [](OpOperand &use) {
      auto other = dyn_cast<linalg::LinalgOp>(use.getOwner());
      auto contraction = other ? matchContraction(other) : std::nullopt;
      return contraction && contraction->weight == &use && isZeroTensor(contraction->init->get());
    };
    if (contraction->rows->get() == weight ||
        (stored != weight && !llvm::all_of(weight.getUses(), isWeightOfProduct)))
      return reportMissed(op, kPass, "the weight, widened, is read by something else than products");
    products.push_back(op);
    readers.insert(op);
    if (stored != weight)
      readers.insert(weight.getDefiningOp());
  });

  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPrivate() || function.isExternal())
      continue;
    auto uses = SymbolTable::getSymbolUses(function, module);
    if (!uses || !llvm::all_of(*uses, [](SymbolTable::SymbolUse use) { return isa<func::CallOp>(use.getUser()); }))
      continue;
    for (SymbolTable::SymbolUse use : *uses)
      calls[function].push_back(cast<func::CallOp>(use.getUser()));
    for (BlockArgument argument : function.getArguments())
      if (isDenseWeight(argument.getType()))
        arguments.insert(argument);
  }
  // The largest set that supports itself.
  for (bool changed = true; changed;) {
    changed = arguments.remove_if([&](BlockArgument argument) { return !isConvertibleArgument(argument); });
  }
  llvm::erase_if(products, [&](linalg::LinalgOp op) {
    if (isConvertible(getStored(matchContraction(op)->weight->get())))
      return false;
    reportMissed(op, kPass, "the weight does not come from a global with a recipe alone");
    return true;
  });
}

/// Gives `loads` of `global` a bank beside the tensor: the same global in another form if nothing reads the tensor any
/// more, else a second global.
void DenseWeights::convertGlobal(GlobalOp global, ArrayRef<GlobalLoadConstOp> loads) {
  BankType type = getBankType(global.getType());
  auto recipe = cast<RecipeAttrInterface>(global.getValueAttr());
  MLIRContext *context = module.getContext();
  Attribute bankRecipe =
      BankRecipeAttr::get(context, RecipeAttrInterface(StackAttr::get(context, ArrayRef<RecipeAttrInterface>(recipe))));

  auto isFree = [&](GlobalLoadConstOp load) {
    return llvm::all_of(load->getUses(), [&](OpOperand &use) { return isConvertibleUse(use); });
  };
  auto uses = SymbolTable::getSymbolUses(global, module);
  bool inPlace = uses && llvm::all_of(*uses, [&](SymbolTable::SymbolUse use) {
    auto load = dyn_cast<GlobalLoadConstOp>(use.getUser());
    return load && llvm::is_contained(loads, load) && isFree(load);
  });
  GlobalOp bank = global;
  if (inPlace) {
    global.setType(type);
    global.setValueAttr(bankRecipe);
  } else {
    rewriter.setInsertionPointAfter(global);
    bank = GlobalOp::create(rewriter, global.getLoc(), (global.getSymName() + "_bank").str(), type, /*is_mutable=*/false,
                            bankRecipe, rewriter.getStringAttr("private"));
    symbols.insert(bank);
  }
  for (GlobalLoadConstOp load : loads) {
    rewriter.setInsertionPointAfter(load);
    banks[load.getResult()] =
        GlobalLoadConstOp::create(rewriter, load.getLoc(), type, FlatSymbolRefAttr::get(bank.getSymNameAttr()));
  }
}

Value DenseWeights::getBank(Value weight) {
  return isa<BlockArgument>(weight) ? weight : banks.at(weight);
}

/// One group that holds all of `rows`. One tensor per rows, so that products of the same rows can be told to be.
Value DenseWeights::getOffsets(Value rows) {
  Value &result = offsets[rows];
  if (result)
    return result;
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointAfterValue(rows);
  Location loc = rows.getLoc();
  Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
  Value count = getValueOrCreateConstantIndexOp(rewriter, loc, tensor::getMixedSize(rewriter, loc, rows, 0));
  result = tensor::FromElementsOp::create(rewriter, loc, ValueRange{zero, count});
  return result;
}

void DenseWeights::convertProduct(linalg::LinalgOp op) {
  Contraction contraction = *matchContraction(op);
  Value weight = contraction.weight->get(), rows = contraction.rows->get(), zeros = contraction.init->get();
  // All rows belong to the group, so nothing of the zeros is left in the result.
  Value init = zeros;
  if (auto fill = zeros.getDefiningOp<linalg::FillOp>())
    init = fill.output();
  Value groups = getOffsets(rows);
  rewriter.setInsertionPoint(op);
  rewriter.replaceOpWithNewOp<GroupedMatmulOp>(op, init.getType(), rows, Value(), getBank(getStored(weight)), groups, init);
  // Loads are erased last: others still look them up.
  for (Value unused : {weight, zeros}) {
    Operation *producer = unused.getDefiningOp();
    if (producer && !isa<GlobalLoadConstOp>(producer) && isOpTriviallyDead(producer))
      rewriter.eraseOp(producer);
  }
}

unsigned DenseWeights::rewrite() {
  llvm::MapVector<Operation *, SmallVector<GlobalLoadConstOp>> loads;
  module.walk([&](GlobalLoadConstOp load) {
    auto convertible = [&](OpOperand &use) { return isConvertibleUse(use); };
    GlobalOp global = getGlobal(load.getResult());
    if (global && isDenseWeight(load.getType()) && llvm::any_of(load->getUses(), convertible))
      loads[global].push_back(load);
  });
  for (auto &[global, list] : loads)
    convertGlobal(cast<GlobalOp>(global), list);

  // Calls pass banks, functions take them.
  for (BlockArgument argument : arguments)
    for (func::CallOp call : calls[argument.getOwner()->getParentOp()])
      rewriter.modifyOpInPlace(call, [&] {
        OpOperand &operand = call->getOpOperand(argument.getArgNumber());
        operand.set(getBank(operand.get()));
      });
  // Widenings of arguments go with the products that read them, so types change last.
  for (linalg::LinalgOp op : products)
    convertProduct(op);
  for (BlockArgument argument : arguments)
    argument.setType(getBankType(argument.getType()));
  for (BlockArgument argument : arguments) {
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    function.setType(rewriter.getFunctionType(function.getBody().getArgumentTypes(), function.getResultTypes()));
  }
  for (auto &[global, list] : loads)
    for (GlobalLoadConstOp load : list)
      if (load->use_empty())
        rewriter.eraseOp(load);
  return products.size();
}

namespace {
struct GroupDense : moe::impl::GroupDensePassBase<GroupDense> {
  void runOnOperation() override {
    DenseWeights weights(getOperation());
    weights.analyse();
    grouped += weights.rewrite();
  }
};
} // namespace
