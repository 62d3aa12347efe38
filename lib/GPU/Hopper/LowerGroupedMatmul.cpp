//===- LowerGroupedMatmul.cpp - Grouped products as launches --------------===//
//
// Implements moe-gpu-lower-grouped-matmul-hopper.
//
//===----------------------------------------------------------------------===//

#include "ProductFunction.h"

#include "moe/GPU/Hopper/CostModel.h"
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

/// Whether `function` has no code yet: no body, or, once on tensors, one that only returns.
static bool standsForProduct(func::FuncOp function) {
  return function->hasAttr(kProductAttr) &&
         (function.isExternal() || isa<func::ReturnOp>(function.getBody().front().front()));
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
      if (standsForProduct(function))
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
      obstacle = findRowsObstacle(KernelShape::of(options), product.getExperts(), product.maxRows);
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
    buildHostCode(getOperation(), product, classes, multiprocessors);
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
    SmallVector<KernelClass, 0> classes;
    for (const TileClass &tile : chooseTiles(product, options, tokenTile)) {
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
      module = gpu::GPUModuleOp::create(builder, getOperation().getLoc(), kKernelModule);
    if (product.hasMapKernel() && failed(writeTileMap(builder, product, kernels)))
      return failure();
    kernels.number = written++;
    FailureOr<LLVM::LLVMFuncOp> kernel = buildGroupedMatmulKernel(builder, module, kernels.options);
    if (failed(kernel))
      return failure();
    describeKernel(*kernel, kThreads, KernelShape::of(kernels.options).getSharedBytes());
    return success();
  }

  LogicalResult writeTileMap(OpBuilder &builder, Product &product, KernelClass &kernels) {
    kernels.mapName = kernels.options.name + "_tiles";
    kernels.mapNumber = written++;
    TileMapKernelOptions map{kernels.mapName, product.getExperts(), kernels.options.tokenTile,
                             getWord(product.getType(product.getOffsets()).getElementType())};
    FailureOr<LLVM::LLVMFuncOp> kernel = buildTileMapKernel(builder, module, map);
    if (failed(kernel))
      return failure();
    describeKernel(*kernel, TileMapKernelOptions::kTileMapThreads, map.getSharedBytes());
    return success();
  }

  gpu::GPUModuleOp module;
  /// Kernels so far: the next one's number.
  int64_t written = 0;
};
} // namespace
