//===- PackWeights.cpp - moe-pack-weights ---------------------------------===//
//
// Banks that grouped products read are stored in panels: recipes and types change, from the globals through calls to
// the products.
//
//===----------------------------------------------------------------------===//

#include "CostModel.h"

#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Dialect/MoE/Transforms/WeightFlow.h"

namespace mlir::moe {
#define GEN_PASS_DEF_PACKWEIGHTSPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-pack-weights";

/// A bank that can be packed: [E, N, K] of floats that the kernels widen, without scales.
static bool isPlain(Type type) {
  auto bank = dyn_cast<BankType>(type);
  if (!bank || bank.getComponents().size() != 1 || bank.getData().getRank() != 3)
    return false;
  auto element = dyn_cast<FloatType>(bank.getData().getElementType());
  return element && (element.isF32() || element.isF16() || element.isBF16()) && bank.getData().getNumElements() > 0;
}

static Type getPackedType(Type type) {
  RankedTensorType data = cast<BankType>(type).getData();
  int64_t panels = llvm::divideCeil(data.getDimSize(1), kPanelWidth);
  return BankType::get(type.getContext(), RankedTensorType::get({data.getDimSize(0), panels, data.getDimSize(2),
                                                                 kPanelWidth},
                                                                data.getElementType()));
}

/// The recipe of the packed bank. The parts of a stack are packed one by one, so that the packer needs the memory of
/// one expert only.
static Attribute getPackedRecipe(Attribute recipe) {
  MLIRContext *context = recipe.getContext();
  auto pack = [&](RecipeAttrInterface part) -> RecipeAttrInterface {
    return PanelsAttr::get(context, part, kPanelWidth);
  };
  RecipeAttrInterface plain = cast<BankRecipeAttr>(recipe).getComponents().front(), packed;
  if (auto stack = dyn_cast<StackAttr>(plain))
    packed = StackAttr::get(context, llvm::map_to_vector(stack.getParts(), pack));
  else
    packed = pack(plain);
  return BankRecipeAttr::get(context, packed);
}

/// Why `bank` cannot be packed, given the arguments that can.
static std::optional<StringRef> whyNot(const WeightFlow &weights, Value bank) {
  if (!isPlain(bank.getType()))
    return StringRef("a bank is not a plain [E, N, K] of f32, f16 or bf16");
  if (weights.isConvertible(bank))
    return std::nullopt;
  if (isa<BlockArgument>(bank))
    return StringRef("a bank is an argument that not all callers load from a global, or that is also read otherwise");
  return StringRef("a bank does not come from a global with a recipe");
}

namespace {
struct PackWeightsPass : public moe::impl::PackWeightsPassBase<PackWeightsPass> {
  void runOnOperation() override {
    WeightFlow weights(getOperation(), {isPlain, getPackedType, getPackedRecipe, "_packed"});
    SmallVector<GroupedMatmulOp> products;
    getOperation().walk([&](GroupedMatmulOp op) {
      if (llvm::any_of(op.getBanks(), [](Value bank) { return cast<BankType>(bank.getType()).isPacked(); }))
        return;
      products.push_back(op);
      for (OpOperand &bank : op.getBanksMutable())
        weights.addReader(bank);
    });
    weights.solve([&] {
      size_t before = products.size();
      llvm::erase_if(products, [&](GroupedMatmulOp op) { return giveUp(weights, op); });
      return products.size() != before;
    });
    IRRewriter rewriter(&getContext());
    packed += weights.convert(rewriter);
  }

  /// A product with one bank that cannot be packed leaves all of them as they are.
  bool giveUp(WeightFlow &weights, GroupedMatmulOp op) {
    for (Value bank : op.getBanks()) {
      std::optional<StringRef> reason = whyNot(weights, bank);
      if (!reason)
        continue;
      reportMissed(op, kPass, *reason);
      for (OpOperand &operand : op.getBanksMutable())
        weights.removeReader(operand);
      return true;
    }
    return false;
  }
};
} // namespace
