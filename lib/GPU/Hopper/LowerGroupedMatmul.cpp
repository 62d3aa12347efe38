//===- LowerGroupedMatmul.cpp - Grouped products as launches --------------===//
//
// Implements moe-gpu-lower-grouped-matmul-hopper.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Hopper/CostModel.h"
#include "moe/GPU/Hopper/GroupedMatmul.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERGROUPEDMATMULHOPPERPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

static constexpr llvm::StringLiteral kProductAttr = "hopper.grouped_matmul", kKernelAttr = "hopper.kernel";
static constexpr llvm::StringLiteral kLaunchFunction = "moe_gpu_launch", kMapFunction = "moe_gpu_tensor_map";
/// CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 and CU_TENSOR_MAP_SWIZZLE_128B of the CUDA driver.
static constexpr int64_t kBFloat16 = 9, kSwizzle128 = 3;

//===----------------------------------------------------------------------===//
// What a function stands for
//===----------------------------------------------------------------------===//

namespace {
/// The arguments of a function that is one product, by meaning.
struct Product {
  func::FuncOp function;
  int64_t banks = 1, vectors = 0;
  bool gathered = false;
  /// One of them is known: what an expert has on average, or what all experts have together at most.
  double rowsPerExpert = 0;
  int64_t maxRows = 0;
  FlatSymbolRefAttr epilogue;

  /// Argument numbers in order.
  unsigned getIndices() const { return 1; }
  unsigned getBank(int64_t bank) const { return 1 + gathered + bank; }
  unsigned getVector(int64_t vector) const { return getBank(banks) + vector; }
  unsigned getOffsets() const { return getVector(vectors); }
  unsigned getTileMap() const { return getOffsets() + 1; }
  unsigned getOut() const { return getTileMap() + 1; }

  MemRefType getType(unsigned argument) {
    return dyn_cast<MemRefType>(function.getArgumentTypes()[argument]);
  }
  int64_t getExperts() { return getType(getBank(0)).getDimSize(0); }

  LogicalResult read(func::FuncOp source);
  LogicalResult verify();
};
} // namespace

LogicalResult Product::read(func::FuncOp source) {
  function = source;
  auto attr = source->getAttrOfType<DictionaryAttr>(kProductAttr);
  if (!attr)
    return source.emitError() << "expected '" << kProductAttr << "' to be a dictionary";
  auto getCount = [&](StringRef name, int64_t otherwise) {
    auto count = attr.getAs<IntegerAttr>(name);
    return count ? count.getInt() : otherwise;
  };
  banks = getCount("banks", 1);
  vectors = getCount("vectors", 0);
  gathered = attr.contains("gathered");
  epilogue = attr.getAs<FlatSymbolRefAttr>("epilogue");
  auto rows = attr.getAs<FloatAttr>("rows_per_expert");
  rowsPerExpert = rows ? rows.getValueAsDouble() : 0;
  maxRows = getCount("max_rows", 0);
  if ((rowsPerExpert > 0) == (maxRows > 0))
    return source.emitError() << "expected either 'rows_per_expert' or 'max_rows' above 0 in '" << kProductAttr << "'";
  return verify();
}

LogicalResult Product::verify() {
  if (banks < 1 || vectors < 0 || function.getNumArguments() != getOut() + 1 || function.getNumResults() != 0)
    return function.emitError() << "expected tokens, " << (gathered ? "indices, " : "") << banks << " banks, "
                                << vectors << " vectors, offsets, tile map and output as arguments, and no result";
  auto expect = [&](unsigned argument, int64_t rank, StringRef what) -> LogicalResult {
    MemRefType type = getType(argument);
    if (type && type.getRank() == rank)
      return success();
    return function.emitError() << "expected argument " << argument << ", the " << what << ", to be a memref of rank "
                                << rank;
  };
  if (failed(expect(0, 2, "tokens")) || failed(expect(getOffsets(), 1, "offsets")) ||
      failed(expect(getTileMap(), 1, "tile map")) || failed(expect(getOut(), 2, "output")) ||
      (gathered && failed(expect(getIndices(), 1, "indices"))))
    return failure();
  for (int64_t bank = 0; bank < banks; ++bank)
    if (failed(expect(getBank(bank), 3, "bank")))
      return failure();
  for (int64_t vector = 0; vector < vectors; ++vector)
    if (failed(expect(getVector(vector), 2, "vector")))
      return failure();
  return success();
}

/// Elements from row to row, or nothing for a layout that no pitch describes.
static std::optional<int64_t> getPitch(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0 || strides.back() != 1)
    return std::nullopt;
  int64_t pitch = strides[type.getRank() - 2];
  if (ShapedType::isDynamic(pitch) ||
      (type.getRank() == 3 && strides[0] != pitch * type.getDimSize(1)))
    return std::nullopt;
  return pitch;
}

/// How the device holds `type`: an index has 64 bits there.
static Type getWord(Type type) { return type.isIndex() ? IntegerType::get(type.getContext(), 64) : type; }

/// What the kernel does, or why tensor cores cannot do `product`.
static std::optional<std::string> fillOptions(Product &product, GroupedMatmulKernelOptions &options) {
  MemRefType tokens = product.getType(0), bank = product.getType(product.getBank(0)),
             out = product.getType(product.getOut());
  options.name = product.function.getName().str();
  options.k = tokens.getDimSize(1);
  options.columns = out.getDimSize(1);
  options.banks = product.banks;
  options.gathered = product.gathered;
  options.outType = out.getElementType();
  if (product.gathered)
    options.indexType = getWord(product.getType(product.getIndices()).getElementType());
  for (int64_t vector = 0; vector < product.vectors; ++vector)
    options.vectors.push_back(product.getType(product.getVector(vector)).getElementType());
  if (!tokens.getElementType().isBF16() || !bank.getElementType().isBF16())
    return "expected tokens and banks of bf16";
  for (int64_t other = 0; other < product.banks; ++other)
    if (product.getType(product.getBank(other)) != bank)
      return "expected banks of one type";
  if (!bank.hasStaticShape() || bank.getDimSize(2) != options.k || bank.getDimSize(1) != options.columns)
    return "expected banks of static size that match tokens and output";
  std::optional<int64_t> pitches[] = {getPitch(tokens), getPitch(bank), getPitch(out)};
  if (!llvm::all_of(pitches, [](auto pitch) { return pitch.has_value(); }))
    return "expected rows at a constant distance from the buffer's beginning on";
  options.tokenPitch = *pitches[0];
  options.bankPitch = *pitches[1];
  options.outPitch = *pitches[2];
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Host code
//===----------------------------------------------------------------------===//

namespace {
/// The kernels for calls of up to `maxRows` rows, and their numbers.
struct KernelClass {
  int64_t maxRows;
  GroupedMatmulKernelOptions options;
  std::string mapName;
  int64_t mapNumber, number;
};

/// Writes the body of a product's function.
class HostCode {
public:
  HostCode(Product &product, int64_t multiprocessors)
      : product(product), multiprocessors(multiprocessors), loc(product.function.getLoc()),
        b(product.function.getContext()) {}

  void build(ArrayRef<KernelClass> classes);

private:
  void buildChoice(ArrayRef<KernelClass> classes);
  void buildLaunches(const KernelClass &kernels);
  Value constant(Type type, int64_t value) {
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
  }
  Value allocate(int64_t bytes, int64_t alignment);
  Value pointer(unsigned argument);
  Value array(Type element, ValueRange values);
  Value buildMap(unsigned argument, ArrayRef<int64_t> box);
  Value rows(unsigned argument);
  void launch(StringRef kernel, int64_t number, Value blocks, ValueRange parameters);
  Value slot(Value value);

  Product &product;
  int64_t multiprocessors;
  Location loc;
  OpBuilder b;
};
} // namespace

Value HostCode::allocate(int64_t bytes, int64_t alignment) {
  return LLVM::AllocaOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), b.getI8Type(),
                                constant(b.getI64Type(), bytes), alignment);
}

Value HostCode::pointer(unsigned argument) {
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, product.function.getArgument(argument));
  Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), number);
}

Value HostCode::rows(unsigned argument) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value size = memref::DimOp::create(b, loc, product.function.getArgument(argument), zero);
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), size);
}

/// Numbers or pointers in memory, one after the other.
Value HostCode::array(Type element, ValueRange values) {
  unsigned bytes = isa<LLVM::LLVMPointerType>(element) ? 8 : element.getIntOrFloatBitWidth() / 8;
  Value memory = allocate(bytes * std::max<int64_t>(values.size(), 1), 8);
  for (auto [index, value] : llvm::enumerate(values)) {
    Value place = LLVM::GEPOp::create(b, loc, memory.getType(), element, memory,
                                      ArrayRef<LLVM::GEPArg>{int32_t(index)});
    LLVM::StoreOp::create(b, loc, value, place);
  }
  return memory;
}

/// The tensor map of a buffer. Sizes and boxes are given outermost first, as in the buffer's type.
Value HostCode::buildMap(unsigned argument, ArrayRef<int64_t> box) {
  MemRefType type = product.getType(argument);
  Type i64 = b.getI64Type(), i32 = b.getI32Type();
  int64_t pitch = *getPitch(type);
  SmallVector<Value> sizes, strides, boxes;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    // An empty buffer has no map; nothing is read of it.
    Value size = type.isDynamicDim(dim) ? arith::MaxSIOp::create(b, loc, rows(argument), constant(i64, 1)).getResult()
                                        : constant(i64, type.getDimSize(dim));
    sizes.push_back(size);
    boxes.push_back(constant(i32, box[dim]));
  }
  strides.push_back(constant(i64, pitch * 2));
  if (type.getRank() == 3)
    strides.push_back(constant(i64, pitch * 2 * type.getDimSize(1)));
  Value map = allocate(128, 64);
  func::CallOp::create(b, loc, kMapFunction, TypeRange(),
                       ValueRange{map, pointer(argument), constant(i32, kBFloat16),
                                  constant(i32, type.getRank()), array(i64, sizes), array(i64, strides),
                                  array(i32, boxes), constant(i32, kSwizzle128)});
  return map;
}

Value HostCode::slot(Value value) { return array(value.getType(), value); }

void HostCode::launch(StringRef kernel, int64_t number, Value blocks, ValueRange parameters) {
  auto call = func::CallOp::create(b, loc, kLaunchFunction, TypeRange(),
                                   ValueRange{constant(b.getI32Type(), number), blocks,
                                              array(LLVM::LLVMPointerType::get(b.getContext()), parameters)});
  // Whoever joins device modules numbers kernels anew by their names.
  call->setAttr(kKernelAttr, SymbolRefAttr::get(b.getContext(), "moe_hopper",
                                                {FlatSymbolRefAttr::get(b.getContext(), kernel)}));
}

void HostCode::buildLaunches(const KernelClass &kernels) {
  const GroupedMatmulKernelOptions &options = kernels.options;
  KernelShape shape = KernelShape::of(options);
  Type i64 = b.getI64Type();
  launch(kernels.mapName, kernels.mapNumber, constant(i64, 1),
         {slot(pointer(product.getOffsets())), slot(pointer(product.getTileMap()))});
  SmallVector<Value> parameters;
  for (int64_t bank = 0; bank < product.banks; ++bank)
    parameters.push_back(buildMap(product.getBank(bank), {1, shape.getBoxRows(), kBlockDepth}));
  if (product.gathered)
    parameters.append({slot(pointer(0)), slot(pointer(product.getIndices()))});
  else
    parameters.push_back(buildMap(0, {shape.tokenTile, kBlockDepth}));
  parameters.push_back(slot(pointer(product.getTileMap())));
  for (int64_t vector = 0; vector < product.vectors; ++vector)
    parameters.push_back(slot(pointer(product.getVector(vector))));
  parameters.push_back(slot(pointer(product.getOut())));
  // The grid depends on the number of rows alone: as many blocks as tiles there can be, or as run at once.
  Value tiles = arith::CeilDivUIOp::create(b, loc, rows(product.getOut()), constant(i64, shape.tokenTile));
  tiles = arith::AddIOp::create(b, loc, tiles, constant(i64, product.getExperts()));
  Value items = arith::MulIOp::create(b, loc, tiles, constant(i64, shape.getColumnTiles()));
  Value blocks = arith::MinUIOp::create(b, loc, items, constant(i64, multiprocessors));
  launch(options.name, kernels.number, blocks, parameters);
}

/// The first class that has room for the rows of the call; the last one has room for any.
void HostCode::buildChoice(ArrayRef<KernelClass> classes) {
  if (classes.size() == 1)
    return buildLaunches(classes.front());
  Value limit = constant(b.getI64Type(), classes.front().maxRows);
  Value fits = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, rows(product.getOut()), limit);
  auto choice = scf::IfOp::create(b, loc, fits, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  buildLaunches(classes.front());
  b.setInsertionPointToStart(choice.elseBlock());
  buildChoice(classes.drop_front());
}

void HostCode::build(ArrayRef<KernelClass> classes) {
  b.setInsertionPointToStart(product.function.addEntryBlock());
  buildChoice(classes);
  func::ReturnOp::create(b, loc);
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

static void declare(ModuleOp module, StringRef name, ArrayRef<Type> parameters) {
  if (module.lookupSymbol(name))
    return;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  func::FuncOp::create(builder, module.getLoc(), name, builder.getFunctionType(parameters, {})).setPrivate();
}

static void declareRuntime(ModuleOp module) {
  Builder builder(module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(module.getContext());
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  declare(module, kLaunchFunction, {i32, i64, pointer});
  declare(module, kMapFunction, {pointer, pointer, i32, i32, pointer, pointer, pointer, i32});
}

/// What the runtime must know of a kernel.
static void describeKernel(LLVM::LLVMFuncOp kernel, int64_t threads, int64_t sharedBytes) {
  Builder builder(kernel.getContext());
  kernel->setAttr(kKernelAttr,
                  builder.getDictionaryAttr(
                      {builder.getNamedAttr("parameters", builder.getI64IntegerAttr(kernel.getNumArguments())),
                       builder.getNamedAttr("shared_bytes", builder.getI64IntegerAttr(sharedBytes)),
                       builder.getNamedAttr("threads", builder.getI64IntegerAttr(threads))}));
}

namespace {
struct LowerGroupedMatmulHopperPass
    : moe::impl::LowerGroupedMatmulHopperPassBase<LowerGroupedMatmulHopperPass> {
  using LowerGroupedMatmulHopperPassBase::LowerGroupedMatmulHopperPassBase;

  void runOnOperation() override {
    module = nullptr;
    written = 0;
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function.isExternal() && function->hasAttr(kProductAttr))
        functions.push_back(function);
    for (func::FuncOp function : functions) {
      Product product;
      if (failed(product.read(function)) || failed(lower(product)))
        return signalPassFailure();
    }
  }

private:
  /// A product that tensor cores cannot do stays as it is.
  LogicalResult lower(Product &product) {
    GroupedMatmulKernelOptions options;
    std::optional<std::string> obstacle = fillOptions(product, options);
    if (!obstacle && failed(fillEpilogue(product, options)))
      return failure();
    SmallVector<KernelClass, 0> classes;
    if (!obstacle)
      classes = choose(product, options);
    for (const KernelClass &kernels : classes)
      if (!obstacle)
        obstacle = findObstacle(kernels.options);
    if (obstacle) {
      product.function.emitRemark() << "not on tensor cores: " << *obstacle;
      return success();
    }
    for (auto [index, kernels] : llvm::enumerate(classes))
      if (failed(write(product, ArrayRef(classes).take_front(index), kernels)))
        return failure();
    declareRuntime(getOperation());
    HostCode(product, multiprocessors).build(classes);
    product.function->removeAttr(kProductAttr);
    return success();
  }

  LogicalResult fillEpilogue(Product &product, GroupedMatmulKernelOptions &options) {
    if (!product.epilogue)
      return success();
    auto function = getOperation().lookupSymbol<FunctionOpInterface>(product.epilogue.getValue());
    if (!function)
      return product.function.emitError() << "no function " << product.epilogue << " for the epilogue";
    FailureOr<Epilogue> epilogue = makeEpilogue(function, product.banks + product.vectors);
    if (succeeded(epilogue))
      options.epilogue = *epilogue;
    return epilogue;
  }

  SmallVector<KernelClass, 0> choose(Product &product, const GroupedMatmulKernelOptions &options) {
    double rowsPerExpert = product.rowsPerExpert ? product.rowsPerExpert
                                                 : double(product.maxRows) / double(product.getExperts());
    ProductFacts facts{product.getExperts(), options.k, options.columns, options.banks, options.gathered,
                       rowsPerExpert};
    std::vector<TileClass> chosen;
    if (tokenTile)
      chosen = {{product.maxRows, facts, evaluateTile(facts, tokenTile)}};
    else if (product.maxRows)
      chosen = chooseClasses(facts, product.maxRows);
    else
      chosen = {{0, facts, chooseTile(facts)}};
    SmallVector<KernelClass, 0> classes;
    for (const TileClass &tile : chosen) {
      if (printDecisions) {
        llvm::errs() << options.name;
        if (tile.maxRows)
          llvm::errs() << " up to " << tile.maxRows << " rows";
        llvm::errs() << ": " << tile.decision.describe(tile.facts) << '\n';
      }
      KernelClass &kernels = classes.emplace_back(KernelClass{tile.maxRows, options, "", 0, 0});
      kernels.options.name += "_n" + std::to_string(tile.decision.tokenTile);
      kernels.options.tokenTile = tile.decision.tokenTile;
      kernels.options.stages = tile.decision.stages;
      kernels.options.raster = tile.decision.raster;
    }
    return classes;
  }

  /// Classes that are not neighbours may have one tile: they share its kernels.
  LogicalResult write(Product &product, ArrayRef<KernelClass> before, KernelClass &kernels) {
    const auto *same = llvm::find_if(before, [&](const KernelClass &other) {
      return other.options.tokenTile == kernels.options.tokenTile;
    });
    if (same != before.end()) {
      kernels.mapName = same->mapName;
      kernels.mapNumber = same->mapNumber;
      kernels.number = same->number;
      return success();
    }
    OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
    if (!module)
      module = gpu::GPUModuleOp::create(builder, getOperation().getLoc(), "moe_hopper");
    kernels.mapName = kernels.options.name + "_tiles";
    kernels.mapNumber = written++;
    kernels.number = written++;
    TileMapKernelOptions map{kernels.mapName, product.getExperts(), kernels.options.tokenTile,
                             getWord(product.getType(product.getOffsets()).getElementType())};
    FailureOr<LLVM::LLVMFuncOp> mapKernel = buildTileMapKernel(builder, module, map);
    if (failed(mapKernel))
      return failure();
    describeKernel(*mapKernel, TileMapKernelOptions::kTileMapThreads, map.getSharedBytes());
    FailureOr<LLVM::LLVMFuncOp> kernel = buildGroupedMatmulKernel(builder, module, kernels.options);
    if (failed(kernel))
      return failure();
    describeKernel(*kernel, kThreads, KernelShape::of(kernels.options).getSharedBytes());
    return success();
  }

  gpu::GPUModuleOp module;
  /// Kernels so far: the next one's number.
  int64_t written = 0;
};
} // namespace
