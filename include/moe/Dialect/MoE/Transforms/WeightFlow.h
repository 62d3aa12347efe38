//===- WeightFlow.h - Weights on their way to what reads them ---*- C++ -*-===//
//
// Follows weights from globals through the arguments of private functions, and gives globals, loads and arguments
// another form where all that reads them agrees.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_WEIGHTFLOW_H
#define MOE_DIALECT_MOE_TRANSFORMS_WEIGHTFLOW_H

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {

/// The weights of a module that a pass wants to change. Not to be used after `convert`.
class WeightFlow {
public:
  /// What the pass makes of a weight.
  struct Change {
    bool (*accepts)(Type type);
    Type (*getType)(Type type);
    /// Called with the recipe of a global whose type is accepted: a bank's recipe for a bank, else a tensor's.
    Attribute (*getRecipe)(Attribute recipe);
    /// Ends the name of a second global, where the first is also read as it is.
    StringRef suffix;
  };

  WeightFlow(ModuleOp module, Change change);

  /// Says that `use` can read the new form, or no longer.
  void addReader(OpOperand &use) { readers.insert(&use); }
  void removeReader(OpOperand &use) { readers.erase(&use); }

  /// Finds the largest set of arguments that supports itself: all their uses take the new form and all their callers
  /// can give it. `giveUp` is asked again and again to drop readers that cannot be, and says whether it dropped any.
  void solve(llvm::function_ref<bool()> giveUp);

  /// Whether `weight` can take the new form: an argument of the set, or loaded from a global with a recipe.
  bool isConvertible(Value weight) const;

  /// Gives globals, loads, arguments and function types the new form; readers then have operands of it. The
  /// global itself changes if nothing reads the old form. Gives the number of globals.
  unsigned convert(RewriterBase &rewriter);

private:
  using Loads = SmallVector<ml_program::GlobalLoadConstOp>;

  ml_program::GlobalOp getGlobal(Value load) const;
  bool isConvertibleUse(OpOperand &use) const;
  bool isConvertibleArgument(BlockArgument argument) const;
  ArrayRef<Operation *> getUsers(Operation *symbol) const;
  void addArguments(func::FuncOp function);
  void convertGlobal(RewriterBase &rewriter, ml_program::GlobalOp global, const Loads &loads);
  void convertArguments(RewriterBase &rewriter);

  ModuleOp module;
  Change change;
  SymbolTable symbols;
  /// All operations that name a symbol of the module.
  llvm::DenseMap<StringAttr, SmallVector<Operation *>> users;
  llvm::DenseSet<OpOperand *> readers;
  /// Arguments of private functions that take the new form.
  llvm::SetVector<BlockArgument> arguments;
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_WEIGHTFLOW_H
