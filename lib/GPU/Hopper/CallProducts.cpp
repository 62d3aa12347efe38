//===- CallProducts.cpp - Grouped products as calls -----------------------===//
//
// Implements moe-gpu-call-hopper-products: on tensors, a product becomes a call of a function that stands for it.
//
//===----------------------------------------------------------------------===//

#include "BankRows.h"
#include "ProductFunction.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CALLHOPPERPRODUCTSPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

static constexpr llvm::StringLiteral kPass = "moe-gpu-call-hopper-products";

//===----------------------------------------------------------------------===//
// Which products
//===----------------------------------------------------------------------===//

static bool isStoredIn16Bits(Value bank) {
  Type element = cast<BankType>(bank.getType()).getData().getElementType();
  return element.isBF16() || element.isF16();
}

/// Whether the product decides which experts are chosen: where scores are close, a rounding chooses others.
static bool decidesRouting(GroupedMatmulOp op) {
  SetVector<Operation *> readers;
  ForwardSliceOptions options;
  // What further products make of it is theirs to say.
  options.filter = [&](Operation *reader) { return reader == op || !isa<GroupedMatmulOp>(reader); };
  getForwardSlice(op.getOperation(), &readers, options);
  return llvm::any_of(readers, llvm::IsaPred<SelectOp>);
}

static std::optional<std::string> findEpilogueObstacle(GroupedMatmulOp op) {
  if (!op.hasEpilogue())
    return std::nullopt;
  Block &block = op.getEpilogue().front();
  for (Operation &inner : block.without_terminator()) {
    if (!isInEpilogue(&inner))
      return ("'" + inner.getName().getStringRef() + "' has no form in an epilogue on tensor cores").str();
  }
  SetVector<Value> outside;
  getUsedValuesDefinedAbove(op.getEpilogue(), outside);
  if (!llvm::all_of(outside, [](Value value) { return matchPattern(value, m_Constant()); }))
    return "the epilogue uses a value from outside";
  return std::nullopt;
}

/// Whether the host computes `number` without reading a tensor: from sizes, and from what a caller passes.
static bool isOfHost(Value number) {
  if (auto argument = dyn_cast<BlockArgument>(number)) {
    auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
    return function && function.isPublic();
  }
  Operation *op = number.getDefiningOp();
  return isa<tensor::DimOp>(op) || matchPattern(op, m_Constant()) ||
         (isa<arith::AddIOp, arith::SubIOp>(op) && llvm::all_of(op->getOperands(), isOfHost));
}

/// The number of rows, as the host knows it, where all rows are of one group; else null.
static Value getDenseRows(GroupedMatmulOp op) {
  auto ends = op.getOffsets().getDefiningOp<tensor::FromElementsOp>();
  if (!ends || op.getGroups() != 1 || !matchPattern(ends.getElements()[0], m_Zero()))
    return {};
  Value rows = ends.getElements()[1];
  return rows.getType().isIndex() && isOfHost(rows) ? rows : Value();
}

/// Rows of a call: those of its tokens, once for each slot of a plan.
static int64_t getMaxRows(GroupedMatmulOp op, int64_t maxTokens) {
  auto plan = op.getOffsets().getDefiningOp<PlanOp>();
  return maxTokens * (plan ? std::max<int64_t>(1, plan.getSlots().getType().getDimSize(1)) : 1);
}

/// Why the general kernels run the product, or nothing.
static std::optional<std::string> findProductObstacle(GroupedMatmulOp op, int64_t maxRows) {
  auto bank = cast<BankType>(op.getBanks().front().getType());
  RankedTensorType data = bank.getData();
  // Activations of large models exceed f16's largest number, 65504.
  if (!data.getElementType().isBF16())
    return "rows rounded to f16, as banks are stored, could overflow";
  if (op.getBanks().size() > 2)
    return "expected one or two banks";
  if (bank.getComponents().size() != 1 || data.getRank() != 3 || !data.hasStaticShape())
    return "expected banks of one component [experts, columns, K] of static size";
  if (!llvm::all_of(op.getBanks().getTypes(), [&](Type type) { return type == bank; }))
    return "expected banks of one type";
  if (ShapedType::isDynamic(op.getRows().getType().getDimSize(1)))
    return "expected rows of static length";
  for (Value vector : op.getVectors())
    if (Type type = cast<BankType>(vector.getType()).getData().getElementType(); !type.isF32() && !type.isBF16())
      return "expected vectors of f32 or bf16";
  // Those of a plan lie in the rows; nothing on the way checks others.
  if (op.getIndices() && !op.getIndices().getDefiningOp<PlanOp>())
    return "expected indices of a plan";
  KernelShape shape{data.getDimSize(2), data.getDimSize(1), /*tokenTile=*/8, /*stages=*/1,
                    int64_t(op.getBanks().size())};
  if (std::optional<std::string> obstacle = findRowsObstacle(shape, data.getDimSize(0), maxRows))
    return obstacle;
  if (decidesRouting(op))
    return "it decides which experts are chosen";
  return findEpilogueObstacle(op);
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

namespace {
/// Makes calls of the products of a module. Equal products share a function.
class ProductCalls {
public:
  ProductCalls(ModuleOp module, int64_t maxTokens)
      : symbols(module), module(module), maxTokens(maxTokens), weights(module, getPadding()) {}

  void collect();
  void replaceAll();

private:
  bool giveUp(GroupedMatmulOp op);
  void padBanks();
  bool isReadInBF16(GroupedMatmulOp op);
  Value round(Value rows);
  Value buildTileMap(OpBuilder &builder, GroupedMatmulOp op);
  FlatSymbolRefAttr getEpilogue(GroupedMatmulOp op);
  DictionaryAttr describe(GroupedMatmulOp op);
  func::FuncOp getFunction(GroupedMatmulOp op, ValueRange arguments);
  func::FuncOp buildFunction(GroupedMatmulOp op, ValueRange arguments, DictionaryAttr description);
  void replace(GroupedMatmulOp op);

  SymbolTable symbols;
  ModuleOp module;
  int64_t maxTokens;
  WeightFlow weights;
  llvm::SetVector<GroupedMatmulOp> products;
  llvm::DenseMap<Value, Value> rounded;             ///< rows in bf16
  llvm::StringMap<FlatSymbolRefAttr> epilogues;     ///< by their text
  llvm::DenseMap<Attribute, func::FuncOp> functions; ///< by type and description
};
} // namespace

void ProductCalls::collect() {
  module.walk([&](GroupedMatmulOp op) {
    if (!llvm::all_of(op.getBanks(), isStoredIn16Bits))
      return;
    if (std::optional<std::string> obstacle = findProductObstacle(op, getMaxRows(op, maxTokens))) {
      reportMissed(op, kPass, "not on tensor cores: " + *obstacle);
      return;
    }
    products.insert(op);
    for (OpOperand &bank : op.getBanksMutable())
      if (needsPadding(bank.get().getType()))
        weights.addReader(bank);
  });
  padBanks();
  for (GroupedMatmulOp op : products)
    remark::passed(op->getLoc(), remark::RemarkOpts::name(op->getName().getStringRef()).category(kPass))
        << "on tensor cores";
}

/// Whether the rows of a bank would have to be padded, and cannot be.
bool ProductCalls::giveUp(GroupedMatmulOp op) {
  if (llvm::all_of(op.getBanks(), [&](Value bank) {
        return !needsPadding(bank.getType()) || weights.isConvertible(bank);
      }))
    return false;
  for (OpOperand &bank : op.getBanksMutable())
    weights.removeReader(bank);
  reportMissed(op, kPass,
               "not on tensor cores: K = " + Twine(op.getRows().getType().getDimSize(1)) +
                   " is no multiple of 8, and a bank, which does not come from a global with a recipe, cannot be "
                   "padded");
  return true;
}

/// Gives banks rows at multiples of 16 bytes. The products are no valid operations from here on until they are calls.
void ProductCalls::padBanks() {
  weights.solve([&] { return products.remove_if([&](GroupedMatmulOp op) { return giveUp(op); }); });
  IRRewriter rewriter(module.getContext());
  weights.convert(rewriter);
}

/// Whether the result can be bf16 at once: nothing of the init is kept, and all that reads it would round it.
bool ProductCalls::isReadInBF16(GroupedMatmulOp op) {
  if (!op.getInit().getDefiningOp<tensor::EmptyOp>() || op->use_empty())
    return false;
  return llvm::all_of(op->getUses(), [&](OpOperand &use) {
    // The number of columns may become another.
    if (auto dim = dyn_cast<tensor::DimOp>(use.getOwner()))
      return dim.getConstantIndex() == 0;
    auto reader = dyn_cast<GroupedMatmulOp>(use.getOwner());
    return reader && products.contains(reader) && &use == &reader.getRowsMutable();
  });
}

/// `rows` in bf16 at multiples of 16 bytes, made once for all products that read them. What lies between is not
/// written.
Value ProductCalls::round(Value rows) {
  Value &result = rounded[rows];
  if (result)
    return result;
  OpBuilder builder(module.getContext());
  builder.setInsertionPointAfterValue(rows);
  Location loc = rows.getLoc();
  int64_t columns = cast<RankedTensorType>(rows.getType()).getDimSize(1), pitch = getRowPitch(columns);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, rows);
  SmallVector<OpFoldResult> zeros(2, builder.getIndexAttr(0)), ones(2, builder.getIndexAttr(1));
  Value all = tensor::EmptyOp::create(builder, loc, ArrayRef<OpFoldResult>{sizes[0], builder.getIndexAttr(pitch)},
                                      builder.getBF16Type());
  Value init = all;
  if (pitch != columns)
    init = tensor::ExtractSliceOp::create(builder, loc, all, zeros, sizes, ones);
  AffineMap identity = builder.getMultiDimIdentityMap(2);
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  result = linalg::GenericOp::create(builder, loc, init.getType(), rows, init, ArrayRef{identity, identity}, iterators,
                                     [](OpBuilder &b, Location loc, ValueRange x) {
                                       Value narrow = arith::TruncFOp::create(b, loc, b.getBF16Type(), x[0]);
                                       linalg::YieldOp::create(b, loc, narrow);
                                     })
               .getResult(0);
  if (pitch != columns)
    result = tensor::InsertSliceOp::create(builder, loc, result, all, zeros, sizes, ones);
  return result;
}

/// Memory for the tile map, enough for the smallest tiles.
Value ProductCalls::buildTileMap(OpBuilder &builder, GroupedMatmulOp op) {
  Location loc = op.getLoc();
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(builder, loc, value); };
  Value rows = builder.createOrFold<tensor::DimOp>(loc, op.getInit(), 0);
  Value tiles = builder.createOrFold<arith::CeilDivUIOp>(loc, rows, constant(8));
  Value entries = builder.createOrFold<arith::AddIOp>(loc, tiles, constant(1 + op.getGroups()));
  Value bytes = builder.createOrFold<arith::MulIOp>(loc, entries, constant(16));
  return tensor::EmptyOp::create(builder, loc, ArrayRef<OpFoldResult>{bytes}, builder.getI8Type());
}

/// The epilogue as a function, which equal epilogues share.
FlatSymbolRefAttr ProductCalls::getEpilogue(GroupedMatmulOp op) {
  OpBuilder builder(module.getContext());
  Block &block = op.getEpilogue().front();
  auto type = builder.getFunctionType(block.getArgumentTypes(), builder.getF32Type());
  auto function = func::FuncOp::create(builder, op.getLoc(), "epilogue", type);
  function.setPrivate();
  function->setAttr(MoEDialect::kKeepMathAttr, builder.getUnitAttr());
  // Constants may stand outside.
  SetVector<Value> outside;
  getUsedValuesDefinedAbove(op.getEpilogue(), outside);
  IRMapping mapping;
  op.getEpilogue().cloneInto(&function.getBody(), mapping);
  builder.setInsertionPointToStart(&function.getBody().front());
  for (Value value : outside) {
    Operation *constant = builder.clone(*value.getDefiningOp());
    replaceAllUsesInRegionWith(value, constant->getResult(0), function.getBody());
  }
  Operation *yield = function.getBody().front().getTerminator();
  builder.setInsertionPoint(yield);
  func::ReturnOp::create(builder, yield->getLoc(), yield->getOperands());
  yield->erase();
  std::string text;
  llvm::raw_string_ostream(text) << function;
  auto [entry, isNew] = epilogues.try_emplace(text);
  if (isNew)
    entry->second = FlatSymbolRefAttr::get(symbols.insert(function));
  else
    function->erase();
  return entry->second;
}

DictionaryAttr ProductCalls::describe(GroupedMatmulOp op) {
  Builder builder(module.getContext());
  NamedAttrList entries;
  entries.append("banks", builder.getI64IntegerAttr(op.getBanks().size()));
  entries.append("vectors", builder.getI64IntegerAttr(op.getVectors().size()));
  if (int64_t k = op.getRows().getType().getDimSize(1); getRowPitch(k) != k)
    entries.append("k", builder.getI64IntegerAttr(k));
  entries.append("max_rows", builder.getI64IntegerAttr(getMaxRows(op, maxTokens)));
  if (op.getIndices())
    entries.append("gathered", builder.getUnitAttr());
  if (getDenseRows(op))
    entries.append("dense", builder.getUnitAttr());
  if (op.hasEpilogue())
    entries.append("epilogue", getEpilogue(op));
  return entries.getDictionary(module.getContext());
}

/// On tensors the function gives back what it was handed for the result; its other arguments are read, and the tile map
/// written, as bufferisation is told.
func::FuncOp ProductCalls::buildFunction(GroupedMatmulOp op, ValueRange arguments, DictionaryAttr description) {
  OpBuilder builder(module.getContext());
  ArrayRef<int64_t> shape = cast<BankType>(op.getBanks().front().getType()).getData().getShape();
  int64_t k = op.getRows().getType().getDimSize(1);
  std::string name = ("product_" + Twine(shape[0]) + "x" + Twine(shape[1]) + "x" + Twine(k)).str();
  auto type = builder.getFunctionType(arguments.getTypes(), arguments.back().getType());
  auto function = func::FuncOp::create(builder, module.getLoc(), name, type);
  function.setPrivate();
  function->setAttr(kProductAttr, description);
  bool dense = description.contains("dense");
  for (unsigned index = 0; index < arguments.size(); ++index) {
    if (arguments[index].getType().isIndex())
      continue;
    bool isOut = index + 1 == arguments.size(), isTileMap = index + 2 == arguments.size() && !dense;
    StringRef access = isOut ? "read-write" : isTileMap ? "write" : "read";
    function.setArgAttr(index, bufferization::BufferizationDialect::kBufferAccessAttrName,
                        builder.getStringAttr(access));
  }
  builder.setInsertionPointToStart(function.addEntryBlock());
  func::ReturnOp::create(builder, module.getLoc(), function.getArguments().back());
  symbols.insert(function);
  return function;
}

func::FuncOp ProductCalls::getFunction(GroupedMatmulOp op, ValueRange arguments) {
  DictionaryAttr description = describe(op);
  Builder builder(module.getContext());
  auto type = TypeAttr::get(builder.getFunctionType(arguments.getTypes(), {}));
  func::FuncOp &function = functions[builder.getArrayAttr({type, description})];
  if (!function)
    function = buildFunction(op, arguments, description);
  return function;
}

void ProductCalls::replace(GroupedMatmulOp op) {
  OpBuilder builder(op);
  SmallVector<Value> arguments{round(op.getRows())};
  if (op.getIndices())
    arguments.push_back(op.getIndices());
  llvm::append_range(arguments, op.getBanks());
  llvm::append_range(arguments, op.getVectors());
  if (Value count = getDenseRows(op))
    arguments.push_back(count);
  else
    arguments.append({op.getOffsets(), buildTileMap(builder, op)});
  bool narrow = isReadInBF16(op);
  if (narrow) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, op.getLoc(), op.getInit());
    sizes[1] = builder.getIndexAttr(getRowPitch(op.getInit().getType().getDimSize(1)));
    arguments.push_back(tensor::EmptyOp::create(builder, op.getLoc(), sizes, builder.getBF16Type()));
  } else {
    arguments.push_back(op.getInit());
  }
  Value result = func::CallOp::create(builder, op.getLoc(), getFunction(op, arguments), arguments).getResult(0);
  if (!narrow)
    return op.getResult().replaceAllUsesWith(result);
  rounded[op.getResult()] = result;
  op.getResult().replaceUsesWithIf(result, [](OpOperand &use) { return isa<tensor::DimOp>(use.getOwner()); });
}

void ProductCalls::replaceAll() {
  for (GroupedMatmulOp op : products)
    replace(op);
  for (GroupedMatmulOp op : llvm::reverse(products))
    op.erase();
}

namespace {
struct CallHopperProductsPass : moe::impl::CallHopperProductsPassBase<CallHopperProductsPass> {
  void runOnOperation() override {
    auto device = getOperation()->getAttrOfType<GPUTargetAttr>(MoEDialect::kDeviceAttr);
    if (!device || device.getChip() != "sm_90a")
      return;
    ProductCalls calls(getOperation(), device.getMaxTokens());
    calls.collect();
    calls.replaceAll();
  }
};
} // namespace
