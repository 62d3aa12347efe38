//===- WeightFlow.cpp - Weights on their way to what reads them -----------===//
//
// The set of arguments that can change, and the change of globals, loads and signatures.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/Transforms/WeightFlow.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlir::moe;
using ml_program::GlobalLoadConstOp;
using ml_program::GlobalOp;

WeightFlow::WeightFlow(ModuleOp module, Change change) : module(module), change(change), symbols(module) {
  // An operation whose symbols are unknown may use any of them.
  std::optional<SymbolTable::UseRange> uses = SymbolTable::getSymbolUses(&module.getBodyRegion());
  if (!uses)
    return;
  for (SymbolTable::SymbolUse use : *uses)
    users[use.getSymbolRef().getRootReference()].push_back(use.getUser());
  for (auto function : module.getOps<func::FuncOp>())
    addArguments(function);
}

ArrayRef<Operation *> WeightFlow::getUsers(Operation *symbol) const {
  auto found = users.find(SymbolTable::getSymbolName(symbol));
  return found == users.end() ? ArrayRef<Operation *>() : ArrayRef<Operation *>(found->second);
}

void WeightFlow::addArguments(func::FuncOp function) {
  // All callers must be known and be calls.
  if (!function.isPrivate() || function.isExternal() || !llvm::all_of(getUsers(function), llvm::IsaPred<func::CallOp>))
    return;
  for (BlockArgument argument : function.getArguments())
    if (change.accepts(argument.getType()))
      arguments.insert(argument);
}

GlobalOp WeightFlow::getGlobal(Value value) const {
  auto load = value.getDefiningOp<GlobalLoadConstOp>();
  if (!load || users.empty() || !change.accepts(load.getType()))
    return {};
  auto global = symbols.lookup<GlobalOp>(load.getGlobal().getRootReference());
  if (!global || global.getIsMutable() || global.getType() != load.getType())
    return {};
  // Only what is made from a checkpoint by a recipe can be made in another form.
  Attribute recipe = global.getValueAttr();
  bool isRecipe = isa<BankType>(load.getType()) ? isa_and_nonnull<BankRecipeAttr>(recipe)
                                                : isa_and_nonnull<RecipeAttrInterface>(recipe);
  return isRecipe ? global : GlobalOp();
}

bool WeightFlow::isConvertible(Value weight) const {
  if (auto argument = dyn_cast<BlockArgument>(weight))
    return arguments.contains(argument);
  return getGlobal(weight) != nullptr;
}

bool WeightFlow::isConvertibleUse(OpOperand &use) const {
  if (readers.contains(&use))
    return true;
  auto call = dyn_cast<func::CallOp>(use.getOwner());
  auto callee = call ? symbols.lookup<func::FuncOp>(call.getCallee()) : func::FuncOp();
  return callee && !callee.isExternal() && arguments.contains(callee.getArgument(use.getOperandNumber()));
}

bool WeightFlow::isConvertibleArgument(BlockArgument argument) const {
  ArrayRef<Operation *> calls = getUsers(argument.getOwner()->getParentOp());
  return !argument.use_empty() && !calls.empty() &&
         llvm::all_of(argument.getUses(), [&](OpOperand &use) { return isConvertibleUse(use); }) &&
         llvm::all_of(calls, [&](Operation *call) { return isConvertible(call->getOperand(argument.getArgNumber())); });
}

void WeightFlow::solve(llvm::function_ref<bool()> giveUp) {
  bool changed = true;
  while (changed) {
    changed = giveUp();
    changed |= arguments.remove_if([&](BlockArgument argument) { return !isConvertibleArgument(argument); });
  }
}

void WeightFlow::convertGlobal(RewriterBase &rewriter, GlobalOp global, const Loads &loads) {
  auto isFree = [&](Operation *user) {
    return llvm::is_contained(loads, user) &&
           llvm::all_of(user->getUses(), [&](OpOperand &use) { return isConvertibleUse(use); });
  };
  Type type = change.getType(global.getType());
  Attribute recipe = change.getRecipe(global.getValueAttr());
  GlobalOp converted = global;
  if (llvm::all_of(getUsers(global), isFree)) {
    rewriter.modifyOpInPlace(global, [&] {
      global.setType(type);
      global.setValueAttr(recipe);
    });
  } else {
    rewriter.setInsertionPointAfter(global);
    converted = GlobalOp::create(rewriter, global.getLoc(), (global.getSymName() + change.suffix).str(), type,
                                 /*is_mutable=*/false, recipe, rewriter.getStringAttr("private"));
    symbols.insert(converted);
  }
  for (GlobalLoadConstOp load : loads) {
    rewriter.setInsertionPointAfter(load);
    auto name = FlatSymbolRefAttr::get(converted.getSymNameAttr());
    auto replacement = GlobalLoadConstOp::create(rewriter, load.getLoc(), type, name);
    rewriter.replaceUsesWithIf(load, replacement, [&](OpOperand &use) { return isConvertibleUse(use); });
    for (GlobalLoadConstOp unused : {load, replacement})
      if (unused->use_empty())
        rewriter.eraseOp(unused);
  }
}

void WeightFlow::convertArguments(RewriterBase &rewriter) {
  llvm::SetVector<Operation *> functions;
  for (BlockArgument argument : arguments) {
    argument.setType(change.getType(argument.getType()));
    functions.insert(argument.getOwner()->getParentOp());
  }
  for (Operation *op : functions) {
    auto function = cast<func::FuncOp>(op);
    rewriter.modifyOpInPlace(function, [&] {
      function.setType(rewriter.getFunctionType(function.getBody().getArgumentTypes(), function.getResultTypes()));
    });
  }
}

unsigned WeightFlow::convert(RewriterBase &rewriter) {
  // In the order of the module, so that names are stable.
  llvm::MapVector<Operation *, Loads> loads;
  llvm::SetVector<Operation *> wanted;
  module.walk([&](GlobalLoadConstOp load) {
    GlobalOp global = getGlobal(load);
    if (!global)
      return;
    loads[global].push_back(load);
    if (llvm::any_of(load->getUses(), [&](OpOperand &use) { return isConvertibleUse(use); }))
      wanted.insert(global);
  });
  for (auto &[global, list] : loads)
    if (wanted.contains(global))
      convertGlobal(rewriter, cast<GlobalOp>(global), list);
  convertArguments(rewriter);
  return wanted.size();
}
