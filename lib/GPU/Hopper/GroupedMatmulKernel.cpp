//===- GroupedMatmulKernel.cpp - The product kernel as a whole ------------===//
//
// One block per multiprocessor: a producer warpgroup, two consumers, a ring of stages between them. Blocks take work
// items in turn until none is left; how many there are is read from the tile map.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

RegisterSplit RegisterSplit::of(const GroupedMatmulKernelOptions &options) {
  // A gathering producer holds up to sixteen addresses. Both splits fill the 64 Ki registers that 384 threads share.
  if (options.gathered && options.tokenTile >= 160)
    return {72, 216};
  return {40, 232};
}

static std::optional<std::string> findSizeObstacle(const GroupedMatmulKernelOptions &options) {
  if (options.k < 1 || options.columns < 1)
    return "expected K and columns of at least 1";
  if (options.tokenTile < 8 || options.tokenTile > 256 || options.tokenTile % 8 != 0)
    return "expected a token tile that is a multiple of 8 up to 256, got " + std::to_string(options.tokenTile);
  if (options.stages < 3)
    return "expected at least 3 stages, got " + std::to_string(options.stages);
  int64_t bytes = KernelShape::of(options).getSharedBytes();
  if (bytes > kSharedLimit)
    return "needs " + std::to_string(bytes) + " bytes of shared memory; a block can have " +
           std::to_string(kSharedLimit);
  if (options.raster < 1)
    return "expected a raster of at least 1, got " + std::to_string(options.raster);
  return std::nullopt;
}

std::optional<std::string> hopper::findObstacle(const GroupedMatmulKernelOptions &options) {
  if (std::optional<std::string> obstacle = findSizeObstacle(options))
    return obstacle;
  if (options.banks != 1 && options.banks != 2)
    return "expected one or two banks, got " + std::to_string(options.banks);
  if (!options.epilogue && (options.banks != 1 || !options.vectors.empty()))
    return "expected an epilogue for two banks or vectors";
  // TMA and 16-byte copies reach only rows that begin at a multiple of 16 bytes.
  for (auto [name, pitch] : {std::pair("tokens", options.tokenPitch), std::pair("banks", options.bankPitch)})
    if (pitch < options.k || pitch % 8 != 0)
      return "expected rows of " + std::string(name) + " that are at least K = " + std::to_string(options.k) +
             " elements and a multiple of 8 apart, got " + std::to_string(pitch);
  if (options.outPitch < options.columns)
    return "expected output rows at least " + std::to_string(options.columns) + " elements apart, got " +
           std::to_string(options.outPitch);
  auto isFloat = [](Type type) { return type && (type.isF32() || type.isBF16()); };
  if (!isFloat(options.outType) || !llvm::all_of(options.vectors, isFloat))
    return "expected f32 or bf16 output and vectors";
  if (options.gathered && (!options.indexType || !(options.indexType.isInteger(32) || options.indexType.isInteger(64))))
    return "expected indices of 32 or 64 bits";
  return std::nullopt;
}

std::optional<std::string> hopper::findRowsObstacle(const KernelShape &shape, int64_t experts, int64_t rows) {
  // Steps of loops go a tile, or as many items as there are blocks, beyond the last.
  constexpr uint64_t most = INT32_MAX - 1024;
  // The smallest tiles are the most.
  uint64_t tiles = llvm::divideCeil(uint64_t(rows), 8) + experts;
  uint64_t items = llvm::SaturatingMultiply<uint64_t>(tiles, shape.getColumnTiles());
  uint64_t pieces = llvm::SaturatingMultiply<uint64_t>(rows, llvm::divideCeil(shape.k, 8));
  if (uint64_t(rows) <= most && items <= most && pieces <= UINT32_MAX)
    return std::nullopt;
  return "a call may have " + std::to_string(rows) + " rows, more than its kernels can count";
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

LLVM::GlobalOp hopper::getSharedMemory(OpBuilder &builder, gpu::GPUModuleOp module) {
  constexpr llvm::StringLiteral name = "moe_shared";
  if (auto global = module.lookupSymbol<LLVM::GlobalOp>(name))
    return global;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(module.getBody());
  auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
  // The swizzle repeats every 1024 bytes.
  return LLVM::GlobalOp::create(builder, module.getLoc(), type, /*isConstant=*/false, LLVM::Linkage::External, name,
                                /*value=*/Attribute(), /*alignment=*/1024, /*addrSpace=*/3);
}

LLVM::LLVMFuncOp hopper::buildKernelFunction(OpBuilder &builder, gpu::GPUModuleOp module, StringRef name,
                                             ArrayRef<Type> parameters, int64_t maps, int64_t threads) {
  MLIRContext *context = builder.getContext();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), parameters);
  auto function = LLVM::LLVMFuncOp::create(builder, module.getLoc(), name, type);
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(), builder.getDenseI32ArrayAttr({int32_t(threads), 1, 1}));
  // Without it and the number of threads, ptxas ignores setmaxnreg.
  function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), builder.getI32IntegerAttr(1));
  auto map = LLVM::LLVMArrayType::get(builder.getI8Type(), 128);
  for (int64_t index = 0; index < maps; ++index) {
    function.setArgAttr(index, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(map));
    function.setArgAttr(index, LLVM::LLVMDialect::getAlignAttrName(), builder.getI64IntegerAttr(64));
    function.setArgAttr(index, NVVM::NVVMDialect::getGridConstantAttrName(), builder.getUnitAttr());
  }
  return function;
}

static SmallVector<Type> getParameters(MLIRContext *context, const GroupedMatmulKernelOptions &options, int64_t maps) {
  SmallVector<Type> parameters(maps, getPointer(context, 0));
  Type pointer = getPointer(context, 1);
  parameters.append(options.gathered ? 2 : 0, pointer);
  parameters.push_back(options.dense ? IntegerType::get(context, 64) : pointer);
  parameters.append(options.vectors.size() + 1, pointer);
  return parameters;
}

static void takeParameters(KernelContext &kernel, ValueRange parameters) {
  auto next = [&]() {
    Value parameter = parameters.front();
    parameters = parameters.drop_front();
    return parameter;
  };
  for (int64_t bank = 0; bank < kernel.shape.banks; ++bank)
    kernel.bankMaps.push_back(next());
  if (kernel.options.gathered) {
    kernel.tokens = next();
    kernel.indices = next();
  } else {
    kernel.tokenMap = next();
  }
  (kernel.options.dense ? kernel.rows : kernel.tileMap) = next();
  for (size_t vector = 0; vector < kernel.options.vectors.size(); ++vector)
    kernel.vectors.push_back(next());
  kernel.out = next();
}

/// One thread makes the barriers; then they are there for all threads and for the async proxy.
static void buildBarriers(const DeviceBuilder &d, const KernelContext &kernel, Value thread) {
  d.when(d.equal(thread, 0), [&](const DeviceBuilder &nested) {
    for (int64_t stage = 0; stage < kernel.shape.stages; ++stage) {
      Value number = nested.constant(stage);
      NVVM::MBarrierInitOp::create(nested.b, nested.loc, kernel.fullBarrier(nested, number),
                                   nested.constant(kernel.fullArrivals()), /*predicate=*/Value());
      NVVM::MBarrierInitOp::create(nested.b, nested.loc, kernel.emptyBarrier(nested, number), nested.constant(8),
                                   /*predicate=*/Value());
    }
    NVVM::FenceMbarrierInitOp::create(nested.b, nested.loc);
  });
  NVVM::BarrierOp::create(d.b, d.loc);
}

/// The warpgroup's number, known to be the same in all threads of a warp.
static Value buildWarpgroup(const DeviceBuilder &d, Value thread) {
  return NVVM::ShflOp::create(d.b, d.loc, d.b.getI32Type(), d.constant(-1), d.div(thread, kWarpgroup), d.constant(0),
                              d.constant(31), NVVM::ShflKind::idx, /*return_value_and_is_valid=*/nullptr);
}

static LogicalResult buildBody(const DeviceBuilder &d, KernelContext &kernel) {
  auto readRegister = [&](auto tag) -> Value { return decltype(tag)::create(d.b, d.loc, d.b.getI32Type()); };
  Value thread = readRegister(NVVM::ThreadIdXOp());
  kernel.block = readRegister(NVVM::BlockIdXOp());
  kernel.blocks = readRegister(NVVM::GridDimXOp());
  kernel.sharedAddress = LLVM::PtrToIntOp::create(d.b, d.loc, d.b.getI32Type(), kernel.shared);
  kernel.thread = d.bitAnd(thread, kWarpgroup - 1);
  buildBarriers(d, kernel, thread);
  if (kernel.options.dense) {
    kernel.rows = d.narrow(kernel.rows);
    kernel.tiles = buildTilesOf(d, kernel.rows, kernel.shape.tokenTile);
  } else {
    kernel.tiles = d.load(d.b.getI32Type(), kernel.tileMap, 16);
  }
  kernel.items = d.mul(kernel.tiles, kernel.shape.getColumnTiles());
  Value warpgroup = buildWarpgroup(d, thread);
  RegisterSplit registers = RegisterSplit::of(kernel.options);
  LogicalResult result = success();
  scf::IfOp::create(
      d.b, d.loc, d.equal(warpgroup, 0),
      [&](OpBuilder &b, Location loc) {
        NVVM::SetMaxRegisterOp::create(b, loc, registers.producer, NVVM::SetMaxRegisterAction::decrease);
        buildProducer(DeviceBuilder{b, loc}, kernel);
        scf::YieldOp::create(b, loc);
      },
      [&](OpBuilder &b, Location loc) {
        DeviceBuilder nested{b, loc};
        NVVM::SetMaxRegisterOp::create(b, loc, registers.consumer, NVVM::SetMaxRegisterAction::increase);
        kernel.consumer = nested.sub(warpgroup, nested.constant(1));
        result = buildConsumer(nested, kernel);
        scf::YieldOp::create(b, loc);
      });
  LLVM::ReturnOp::create(d.b, d.loc, ValueRange());
  return result;
}

FailureOr<LLVM::LLVMFuncOp> hopper::buildGroupedMatmulKernel(OpBuilder &builder, gpu::GPUModuleOp module,
                                                             const GroupedMatmulKernelOptions &options) {
  if (std::optional<std::string> obstacle = findObstacle(options))
    return module.emitError() << "no grouped product '" << options.name << "' on tensor cores: " << *obstacle;
  OpBuilder::InsertionGuard guard(builder);
  LLVM::GlobalOp shared = getSharedMemory(builder, module);
  builder.setInsertionPointToEnd(module.getBody());
  int64_t maps = options.banks + (options.gathered ? 0 : 1);
  LLVM::LLVMFuncOp function = buildKernelFunction(builder, module, options.name,
                                                  getParameters(builder.getContext(), options, maps), maps, kThreads);
  Block *entry = function.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  DeviceBuilder d{builder, module.getLoc()};
  KernelContext kernel(options);
  takeParameters(kernel, entry->getArguments());
  kernel.shared = LLVM::AddressOfOp::create(builder, module.getLoc(), shared);
  if (failed(buildBody(d, kernel)))
    return failure();
  return function;
}
