//===- GroupDense.cpp - moe-group-dense -----------------------------------===//
//
// Products with dense weights become grouped products of one group, and the weights banks of one matrix.
//
//===----------------------------------------------------------------------===//

#include "Structure.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Dialect/MoE/Transforms/WeightFlow.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_GROUPDENSEPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-group-dense";

static bool isDenseWeight(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && tensor.hasStaticShape() && tensor.getDimSize(0) > 0 &&
         tensor.getElementType().isFloat();
}

/// The type of a bank of one matrix `tensor`.
static Type getBankType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  auto data = RankedTensorType::get({1, tensor.getDimSize(0), tensor.getDimSize(1)}, tensor.getElementType());
  return BankType::get(type.getContext(), {data});
}

static Attribute getBankRecipe(Attribute recipe) {
  MLIRContext *context = recipe.getContext();
  auto matrix = StackAttr::get(context, ArrayRef<RecipeAttrInterface>(cast<RecipeAttrInterface>(recipe)));
  return BankRecipeAttr::get(context, RecipeAttrInterface(matrix));
}

/// Whether `use` is the weight of a product that can become a grouped one, as far as the product itself goes.
static bool isWeightOfProduct(OpOperand &use) {
  auto op = dyn_cast<linalg::LinalgOp>(use.getOwner());
  auto contraction = op ? matchContraction(op) : std::nullopt;
  return contraction && contraction->weight == &use && isZeroTensor(contraction->init->get());
}

namespace {
/// A product that can be grouped. What it reads is noted before weights become banks and it stops to be recognisable.
struct Product {
  linalg::LinalgOp op;
  Contraction contraction;
  /// The weight as it is stored: read by the product, or by what widens it for the product.
  OpOperand *stored;
};

/// State of one run.
class DenseProducts {
public:
  explicit DenseProducts(ModuleOp module)
      : module(module), rewriter(module.getContext()),
        weights(module, {isDenseWeight, getBankType, getBankRecipe, "_bank"}) {}

  /// Finds the products whose weights can become banks, and reports those that cannot be grouped.
  void analyse();
  /// Rewrites weights and products; gives the number of products.
  unsigned rewrite();

private:
  std::optional<StringRef> add(linalg::LinalgOp op);
  bool giveUp(const Product &product);
  Value getOffsets(Value rows);
  void convert(const Product &product);

  ModuleOp module;
  IRRewriter rewriter;
  WeightFlow weights;
  SmallVector<Product> products;
  llvm::DenseMap<Value, Value> offsets;
};
} // namespace

/// Adds `op` if it is a product that may be grouped; says why not if it is one.
std::optional<StringRef> DenseProducts::add(linalg::LinalgOp op) {
  auto contraction = matchContraction(op);
  if (!contraction)
    return std::nullopt;
  OpOperand *weight = contraction->weight, *stored = weight;
  if (Value source = getWidened(weight->get())) {
    auto uses = source.getUses();
    stored = &*llvm::find_if(uses, [&](OpOperand &use) { return use.getOwner() == weight->get().getDefiningOp(); });
  }
  if (!isDenseWeight(stored->get().getType()))
    return std::nullopt;
  if (!isZeroTensor(contraction->init->get()))
    return StringRef("the product is added to something else than zeros");
  // A widened copy may have no other reader.
  if (stored != weight && !llvm::all_of(weight->get().getUses(), isWeightOfProduct))
    return StringRef("the weight, widened, is read by something else than products");
  products.push_back({op, *contraction, stored});
  weights.addReader(*stored);
  return std::nullopt;
}

bool DenseProducts::giveUp(const Product &product) {
  if (weights.isConvertible(product.stored->get()))
    return false;
  weights.removeReader(*product.stored);
  reportMissed(product.op, kPass, "the weight does not come from a global with a recipe alone");
  return true;
}

void DenseProducts::analyse() {
  module.walk([&](linalg::LinalgOp op) {
    if (std::optional<StringRef> reason = add(op))
      reportMissed(op, kPass, *reason);
  });
  weights.solve([&] {
    size_t before = products.size();
    llvm::erase_if(products, [&](const Product &product) { return giveUp(product); });
    return products.size() != before;
  });
}

/// One group that holds all of `rows`. One tensor per rows, so that products of the same rows can be told to be.
Value DenseProducts::getOffsets(Value rows) {
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

void DenseProducts::convert(const Product &product) {
  Value weight = product.contraction.weight->get(), rows = product.contraction.rows->get();
  Value zeros = product.contraction.init->get(), bank = product.stored->get();
  // All rows belong to the group, so nothing of the zeros is left in the result.
  Value init = zeros;
  if (auto fill = zeros.getDefiningOp<linalg::FillOp>())
    init = fill.output();
  Value groups = getOffsets(rows);
  rewriter.setInsertionPoint(product.op);
  rewriter.replaceOpWithNewOp<GroupedMatmulOp>(product.op, init.getType(), rows, Value(), bank, groups, init);
  for (Value unused : {weight, zeros})
    if (unused != bank && unused.use_empty() && unused.getDefiningOp() && isOpTriviallyDead(unused.getDefiningOp()))
      rewriter.eraseOp(unused.getDefiningOp());
}

unsigned DenseProducts::rewrite() {
  weights.convert(rewriter);
  for (const Product &product : products)
    convert(product);
  return products.size();
}

namespace {
struct GroupDensePass : moe::impl::GroupDensePassBase<GroupDensePass> {
  void runOnOperation() override {
    DenseProducts products(getOperation());
    products.analyse();
    grouped += products.rewrite();
  }
};
} // namespace
