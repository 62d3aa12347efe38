//===- PackWeights.cpp - moe-pack-weights ---------------------------------===//
//
// Banks that grouped products read are stored in panels: recipes and types change, from the globals through calls to
// the products.
//
//===----------------------------------------------------------------------===//

#include "CostModel.h"
#include "Missed.h"

#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using ml_program::GlobalLoadConstOp;
using ml_program::GlobalOp;

static constexpr llvm::StringLiteral kPass = "moe-pack-weights";

/// A bank that can be packed: [E, N, K] of floats that the kernels widen, without scales.
static bool isPlain(Type type) {
  auto bank = dyn_cast<BankType>(type);
  if (!bank || bank.getComponents().size() != 1 || bank.getData().getRank() != 3)
    return false;
  auto element = dyn_cast<FloatType>(bank.getData().getElementType());
  return element && (element.isF32() || element.isF16() || element.isBF16()) && bank.getData().getNumElements() > 0;
}

static BankType getPacked(Type type) {
  RankedTensorType data = cast<BankType>(type).getData();
  int64_t panels = llvm::divideCeil(data.getDimSize(1), kPanelWidth);
  return BankType::get(type.getContext(), RankedTensorType::get({data.getDimSize(0), panels, data.getDimSize(2),
                                                                 kPanelWidth},
                                                                data.getElementType()));
}

/// The recipe of the packed bank. The parts of a stack are packed one by one, so that the packer needs the memory of
/// one expert only.
static BankRecipeAttr getPacked(BankRecipeAttr recipe) {
  MLIRContext *context = recipe.getContext();
  auto pack = [&](RecipeAttrInterface part) -> RecipeAttrInterface {
    return PanelsAttr::get(context, part, kPanelWidth);
  };
  RecipeAttrInterface plain = recipe.getComponents().front(), packed;
  if (auto stack = dyn_cast<StackAttr>(plain))
    packed = StackAttr::get(context, llvm::map_to_vector(stack.getParts(), pack));
  else
    packed = pack(plain);
  return BankRecipeAttr::get(context, packed);
}

namespace {
/// State of one run: which products, arguments and loads are to be packed.
class WeightPacker {
public:
  explicit WeightPacker(ModuleOp module) : module(module), rewriter(module.getContext()), symbols(module) {}

  void analyse();
  /// Gives the number of packed globals.
  unsigned rewrite();

private:
  GlobalOp getGlobal(GlobalLoadConstOp load) const;
  std::optional<StringRef> whyNot(Value bank) const;
  BlockArgument getCalledArgument(OpOperand &use) const;
  /// Whether what `use` reads may be packed.
  bool isPackedUse(OpOperand &use) const;
  bool isPackedArgument(BlockArgument argument) const;
  void packGlobal(GlobalOp global, ArrayRef<GlobalLoadConstOp> loads);

  ModuleOp module;
  IRRewriter rewriter;
  SymbolTable symbols;
  llvm::SetVector<Operation *> products;
  /// Bank arguments of private functions, and the calls of those functions.
  llvm::SetVector<BlockArgument> arguments;
  llvm::DenseMap<Operation *, SmallVector<func::CallOp>> calls;
};
} // namespace

GlobalOp WeightPacker::getGlobal(GlobalLoadConstOp load) const {
  auto global = symbols.lookup<GlobalOp>(load.getGlobal().getRootReference());
  if (!global || global.getIsMutable() || global.getType() != load.getType() ||
      !isa_and_nonnull<BankRecipeAttr>(global.getValueAttr()))
    return {};
  return global;
}

/// Why `bank` cannot be packed, given the arguments that can.
std::optional<StringRef> WeightPacker::whyNot(Value bank) const {
  if (!isPlain(bank.getType()))
    return StringRef("a bank is not a plain [E, N, K] of f32, f16 or bf16");
  if (auto argument = dyn_cast<BlockArgument>(bank)) {
    if (arguments.contains(argument))
      return std::nullopt;
    return StringRef("a bank is an argument that not all callers load from a global, or that is also read otherwise");
  }
  auto load = bank.getDefiningOp<GlobalLoadConstOp>();
  if (!load || !getGlobal(load))
    return StringRef("a bank does not come from a global with a recipe");
  return std::nullopt;
}

BlockArgument WeightPacker::getCalledArgument(OpOperand &use) const {
  auto call = dyn_cast<func::CallOp>(use.getOwner());
  auto callee = call ? symbols.lookup<func::FuncOp>(call.getCallee()) : func::FuncOp();
  return callee && !callee.isExternal() ? callee.getArgument(use.getOperandNumber()) : BlockArgument();
}

bool WeightPacker::isPackedUse(OpOperand &use) const {
  if (products.contains(use.getOwner()))
    return true;
  BlockArgument argument = getCalledArgument(use);
  return argument && arguments.contains(argument);
}

bool WeightPacker::isPackedArgument(BlockArgument argument) const {
  auto found = calls.find(argument.getOwner()->getParentOp());
  return found != calls.end() && !argument.use_empty() &&
         llvm::all_of(argument.getUses(), [&](OpOperand &use) { return isPackedUse(use); }) &&
         llvm::all_of(found->second,
                      [&](func::CallOp call) { return !whyNot(call.getOperand(argument.getArgNumber())); });
}

void WeightPacker::analyse() {
  module.walk([&](GroupedMatmulOp op) {
    if (llvm::none_of(op.getBanks(), [](Value bank) { return cast<BankType>(bank.getType()).isPacked(); }))
      products.insert(op);
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
      if (isPlain(argument.getType()))
        arguments.insert(argument);
  }
  // The largest set that supports itself: what cannot be packed takes its users and its sources along.
  bool changed = true;
  while (changed) {
    changed = products.remove_if([&](Operation *op) {
      for (Value bank : cast<GroupedMatmulOp>(op).getBanks())
        if (std::optional<StringRef> reason = whyNot(bank)) {
          reportMissed(op, kPass, *reason);
          return true;
        }
      return false;
    });
    changed |= arguments.remove_if([&](BlockArgument argument) { return !isPackedArgument(argument); });
  }
}

/// Packs the global itself if nothing reads it plain, or a second one beside it.
void WeightPacker::packGlobal(GlobalOp global, ArrayRef<GlobalLoadConstOp> loads) {
  BankType type = getPacked(global.getType());
  BankRecipeAttr recipe = getPacked(cast<BankRecipeAttr>(global.getValueAttr()));
  auto uses = SymbolTable::getSymbolUses(global, module);
  bool inPlace = uses && llvm::all_of(*uses, [&](SymbolTable::SymbolUse use) {
    auto load = dyn_cast<GlobalLoadConstOp>(use.getUser());
    return load && llvm::all_of(load->getUses(), [&](OpOperand &use) { return isPackedUse(use); });
  });
  GlobalOp packed = global;
  if (inPlace) {
    global.setType(type);
    global.setValueAttr(recipe);
  } else {
    rewriter.setInsertionPointAfter(global);
    packed = GlobalOp::create(rewriter, global.getLoc(), (global.getSymName() + "_packed").str(), type,
                              /*is_mutable=*/false, recipe, rewriter.getStringAttr("private"));
    symbols.insert(packed);
  }
  for (GlobalLoadConstOp load : loads) {
    rewriter.setInsertionPointAfter(load);
    auto replacement =
        GlobalLoadConstOp::create(rewriter, load.getLoc(), type, FlatSymbolRefAttr::get(packed.getSymNameAttr()));
    rewriter.replaceUsesWithIf(load, replacement.getResult(), [&](OpOperand &use) { return isPackedUse(use); });
    if (load->use_empty())
      rewriter.eraseOp(load);
  }
}

unsigned WeightPacker::rewrite() {
  // In the order of the module, so that names are stable.
  llvm::MapVector<Operation *, SmallVector<GlobalLoadConstOp>> loads;
  module.walk([&](GlobalLoadConstOp load) {
    if (!isPlain(load.getType()))
      return;
    GlobalOp global = getGlobal(load);
    if (global && llvm::any_of(load->getUses(), [&](OpOperand &use) { return isPackedUse(use); }))
      loads[global].push_back(load);
  });
  for (auto &[global, list] : loads)
    packGlobal(cast<GlobalOp>(global), list);
  for (BlockArgument argument : arguments)
    argument.setType(getPacked(argument.getType()));
  for (BlockArgument argument : arguments) {
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    function.setType(rewriter.getFunctionType(function.getBody().getArgumentTypes(), function.getResultTypes()));
  }
  return loads.size();
}

namespace {
struct PackWeightsPass : public moe::impl::PackWeightsPassBase<PackWeightsPass> {
  void runOnOperation() override {
    WeightPacker packer(getOperation());
    packer.analyse();
    packed += packer.rewrite();
  }
};
} // namespace
