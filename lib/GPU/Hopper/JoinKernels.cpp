//===- JoinKernels.cpp - One device module --------------------------------===//
//
// Implements moe-gpu-join-hopper-kernels.
//
//===----------------------------------------------------------------------===//

#include "ProductFunction.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/GPU/Hopper/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::moe {
#define GEN_PASS_DEF_JOINHOPPERKERNELSPASS
#include "moe/GPU/Hopper/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

/// Says of the kernel what is said of all kernels: sizes of parameters, and the shared memory of a block.
static void describeForRuntime(LLVM::LLVMFuncOp kernel) {
  Builder builder(kernel.getContext());
  SmallVector<int32_t> sizes;
  for (unsigned index = 0; index < kernel.getNumArguments(); ++index) {
    auto byValue = kernel.getArgAttrOfType<TypeAttr>(index, LLVM::LLVMDialect::getByValAttrName());
    auto bytes = byValue ? dyn_cast<LLVM::LLVMArrayType>(byValue.getValue()) : LLVM::LLVMArrayType();
    sizes.push_back(bytes ? bytes.getNumElements() : 8);
  }
  auto facts = kernel->getAttrOfType<DictionaryAttr>(kKernelAttr);
  kernel->setAttr(MoEDialect::kParametersAttr, builder.getDenseI32ArrayAttr(sizes));
  kernel->setAttr(MoEDialect::kSharedBytesAttr, facts.get("shared_bytes"));
  kernel->removeAttr(kKernelAttr);
}

namespace {
struct JoinHopperKernelsPass : moe::impl::JoinHopperKernelsPassBase<JoinHopperKernelsPass> {
  void runOnOperation() override {
    if (failed(checkProducts()))
      return signalPassFailure();
    auto source = getOperation().lookupSymbol<gpu::GPUModuleOp>(kKernelModule);
    if (!source)
      return;
    auto target = getOperation().lookupSymbol<gpu::GPUModuleOp>("device");
    if (!target) {
      source.emitError("expected a gpu.module 'device' for the kernels of products");
      return signalPassFailure();
    }
    llvm::StringMap<int64_t> numbers = moveKernels(source, target);
    getOperation().walk([&](func::CallOp call) {
      auto kernel = call->getAttrOfType<SymbolRefAttr>(kKernelAttr);
      if (!kernel)
        return;
      OpBuilder builder(call);
      Value number = arith::ConstantOp::create(
          builder, call.getLoc(), builder.getI32IntegerAttr(numbers.lookup(kernel.getLeafReference().getValue())));
      call.setOperand(0, number);
      call->removeAttr(kKernelAttr);
    });
    source.erase();
    eraseEpilogues();
  }

private:
  /// A function that still stands for a product would do nothing.
  LogicalResult checkProducts() {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kProductAttr))
        return function.emitError("expected the product to have kernels by now");
    return success();
  }

  /// Behind the kernels of `target`; gives their numbers.
  llvm::StringMap<int64_t> moveKernels(gpu::GPUModuleOp source, gpu::GPUModuleOp target) {
    int64_t next = llvm::range_size(target.getOps<FunctionOpInterface>());
    llvm::StringMap<int64_t> numbers;
    SymbolTable symbols(target);
    for (Operation &op : llvm::make_early_inc_range(*source.getBody())) {
      auto kernel = dyn_cast<LLVM::LLVMFuncOp>(op);
      if (kernel) {
        describeForRuntime(kernel);
        numbers[kernel.getName()] = next++;
      }
      op.remove();
      symbols.insert(&op);
    }
    return numbers;
  }

  /// They are parts of kernels by now.
  void eraseEpilogues() {
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (function->hasAttr(MoEDialect::kKeepMathAttr) && SymbolTable::symbolKnownUseEmpty(function, getOperation()))
        function.erase();
  }
};
} // namespace
