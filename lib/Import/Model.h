//===- Model.h - The module under construction ------------------*- C++ -*-===//
//
// Weights by name, checked against the checkpoint, and functions that take the
// weights they use as arguments.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_IMPORT_MODEL_H
#define MOE_LIB_IMPORT_MODEL_H

#include "Recipes.h"
#include "moe/Import/Safetensors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::moe {

/// The module and the checkpoint its globals come from. The first error is
/// kept: blocks build on, and the caller asks in the end.
class Model {
public:
  Model(ModuleOp module, const Checkpoint &checkpoint)
      : module(module), checkpoint(checkpoint) {}

  /// A global for `weight`, whose shape must be that.
  Type getWeight(const Weight &weight, llvm::ArrayRef<int64_t> shape);
  /// A global for a bank of one component: `shape` begins with the experts.
  Type getBank(const Weight &bank, llvm::ArrayRef<int64_t> shape);

  /// The tensor `name`, which must have that shape and a floating-point type.
  SourceAttr getSource(llvm::StringRef name, llvm::ArrayRef<int64_t> shape);
  bool hasTensor(llvm::StringRef name) const {
    return checkpoint.lookup(name) != nullptr;
  }

  ModuleOp getModule() { return module; }
  MLIRContext *getContext() { return module.getContext(); }
  void fail(const llvm::Twine &message);
  bool failed() const { return !firstError.empty(); }
  const std::string &getError() const { return firstError; }

private:
  RecipeAttrInterface getRecipe(const Weight &weight,
                                llvm::ArrayRef<int64_t> shape);
  void addGlobal(llvm::StringRef name, Type type, Attribute recipe);

  ModuleOp module;
  const Checkpoint &checkpoint;
  llvm::StringMap<Type> globals;
  std::string firstError;
};

/// A function under construction. Blocks add operations through `builder`,
/// whose location names the block.
class FunctionScope {
public:
  /// `prefix` is dropped from the names of weights in the attributes of
  /// arguments, so that layers of one shape become equal functions. With
  /// `loadsWeights` weights are read here, otherwise they become arguments.
  FunctionScope(Model &model, llvm::StringRef name, bool isPublic,
                bool loadsWeights, llvm::StringRef prefix);

  ImplicitLocOpBuilder builder;

  /// `more` are attributes beside name and role.
  Value addArgument(Type type, llvm::StringRef name, llvm::StringRef role = "",
                    llvm::ArrayRef<NamedAttribute> more = {});
  Value getWeight(const Weight &weight, llvm::ArrayRef<int64_t> shape);
  Value getBank(const Weight &bank, llvm::ArrayRef<int64_t> shape);

  /// In a function that loads weights: the value of the global `name`.
  Value load(llvm::StringRef name, Type type);

  struct Result {
    Value value;
    std::string name, role;
  };
  /// Ends the function.
  void finish(llvm::ArrayRef<Result> results);

  /// Globals behind the arguments that weights became, in order.
  llvm::ArrayRef<std::pair<std::string, Type>> getUsedWeights() const {
    return usedWeights;
  }
  func::FuncOp getFunction() { return function; }
  Model &getModel() { return model; }

  /// Names a block in the locations of what is built while it lives.
  class Block {
  public:
    Block(FunctionScope &scope, llvm::StringRef name);
    ~Block() { scope.builder.setLoc(outer); }
    Block(const Block &) = delete;

  private:
    FunctionScope &scope;
    Location outer;
  };

private:
  Value use(llvm::StringRef name, Type type);

  Model &model;
  func::FuncOp function;
  bool loadsWeights;
  std::string prefix;
  llvm::SmallVector<Attribute> argumentAttributes;
  llvm::StringMap<Value> weights;
  std::vector<std::pair<std::string, Type>> usedWeights;
};

} // namespace mlir::moe

#endif // MOE_LIB_IMPORT_MODEL_H
