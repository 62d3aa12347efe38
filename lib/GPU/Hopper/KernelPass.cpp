//===- KernelPass.cpp - moe-gpu-hopper-kernel -----------------------------===//
//
// Writes the kernels for sizes given as options.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Hopper/GroupedMatmul.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::moe {
#define GEN_PASS_DEF_HOPPERKERNELPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
struct HopperKernelPass : moe::impl::HopperKernelPassBase<HopperKernelPass> {
  using HopperKernelPassBase::HopperKernelPassBase;

  void runOnOperation() override {
    OpBuilder builder(&getContext());
    hopper::GroupedMatmulKernelOptions options;
    if (failed(fill(options, builder)))
      return signalPassFailure();
    builder.setInsertionPointToEnd(getOperation().getBody());
    auto module = gpu::GPUModuleOp::create(builder, getOperation().getLoc(), "kernels");
    hopper::TileMapKernelOptions map{"tile_map", experts, tokenTile, options.indexType};
    if ((!dense && failed(hopper::buildTileMapKernel(builder, module, map))) ||
        failed(hopper::buildGroupedMatmulKernel(builder, module, options)))
      signalPassFailure();
  }

  LogicalResult fill(hopper::GroupedMatmulKernelOptions &options, OpBuilder &builder) {
    auto getFloat = [&](int64_t bits) -> Type {
      return bits == 32 ? Type(builder.getF32Type()) : Type(builder.getBF16Type());
    };
    options.name = "product";
    options.k = k;
    options.columns = columns;
    options.tokenTile = tokenTile;
    options.stages = stages;
    options.banks = banks;
    options.gathered = gathered;
    options.dense = dense;
    options.tokenPitch = options.bankPitch = llvm::alignTo(uint64_t(k), 8);
    options.outPitch = outPitch ? outPitch : columns;
    options.outType = getFloat(outBits);
    options.indexType = builder.getIntegerType(indexBits);
    options.raster = raster;
    if (vectorBits)
      options.vectors = {getFloat(vectorBits)};
    if (epilogue.empty())
      return success();
    auto function = getOperation().lookupSymbol<FunctionOpInterface>(epilogue);
    if (!function)
      return getOperation().emitError() << "no function '" << epilogue << "' for the epilogue";
    FailureOr<hopper::Epilogue> made = hopper::makeEpilogue(function, banks + (vectorBits != 0));
    if (succeeded(made))
      options.epilogue = *made;
    return made;
  }
};
} // namespace
