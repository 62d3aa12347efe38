//===- LowerKernels.cpp - Kernels as functions of the chip ----------------===//
//
// Implements moe-gpu-lower-kernels, for NVIDIA's chips and for the host that stands in for one.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERKERNELSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
/// One kernel on its way to a function of LLVM.
class Kernel {
public:
  explicit Kernel(gpu::GPUFuncOp source)
      : source(source), builder(source), loc(source.getLoc()), parameterCount(source.getNumArguments()) {
    for (Type type : source.getArgumentTypes())
      sizes.push_back(isa<LLVM::LLVMPointerType>(type) ? 8 : llvm::divideCeil(type.getIntOrFloatBitWidth(), 8));
  }

  void lowerForNVIDIA();
  void lowerForHost();

private:
  LLVM::LLVMFuncOp createFunction(TypeRange parameters);
  void replaceReturns();
  template <typename IdOp, typename Build> void replaceIds(Build build);

  gpu::GPUFuncOp source;
  OpBuilder builder;
  Location loc;
  unsigned parameterCount;
  SmallVector<int32_t> sizes; ///< of the parameters, in bytes
};
} // namespace

/// A function with the body of the kernel, whose arguments are those of the kernel still.
LLVM::LLVMFuncOp Kernel::createFunction(TypeRange parameters) {
  MLIRContext *context = builder.getContext();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), SmallVector<Type>(parameters));
  auto function = LLVM::LLVMFuncOp::create(builder, loc, source.getName(), type);
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  if (std::optional<ArrayRef<int32_t>> size = source.getKnownBlockSize())
    function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(), builder.getDenseI32ArrayAttr(size->take_front()));
  function->setAttr(MoEDialect::kParametersAttr, builder.getDenseI32ArrayAttr(sizes));
  replaceReturns();
  function.getBody().takeBody(source.getBody());
  return function;
}

void Kernel::replaceReturns() {
  SmallVector<gpu::ReturnOp> returns;
  source.walk([&](gpu::ReturnOp op) { returns.push_back(op); });
  for (gpu::ReturnOp op : returns) {
    OpBuilder at(op);
    LLVM::ReturnOp::create(at, op.getLoc(), ValueRange());
    op.erase();
  }
}

template <typename IdOp, typename Build> void Kernel::replaceIds(Build build) {
  SmallVector<IdOp> ids;
  source.walk([&](IdOp op) { ids.push_back(op); });
  for (IdOp op : ids) {
    OpBuilder at(op);
    Value number = build(at, op.getLoc());
    op.replaceAllUsesWith(arith::IndexCastUIOp::create(at, op.getLoc(), at.getIndexType(), number).getResult());
    op.erase();
  }
}

void Kernel::lowerForNVIDIA() {
  Type i32 = builder.getI32Type();
  replaceIds<gpu::BlockIdOp>(
      [&](OpBuilder &b, Location loc) -> Value { return NVVM::BlockIdXOp::create(b, loc, i32); });
  replaceIds<gpu::ThreadIdOp>(
      [&](OpBuilder &b, Location loc) -> Value { return NVVM::ThreadIdXOp::create(b, loc, i32); });
  LLVM::LLVMFuncOp function = createFunction(source.getArgumentTypes());
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  source.erase();
}

void Kernel::lowerForHost() {
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext()), word = builder.getI64Type();
  Block &entry = source.getBody().front();
  Value parameters = entry.addArgument(pointer, loc), block = entry.addArgument(word, loc),
        thread = entry.addArgument(word, loc);
  replaceIds<gpu::BlockIdOp>([&](OpBuilder &, Location) { return block; });
  replaceIds<gpu::ThreadIdOp>([&](OpBuilder &, Location) { return thread; });
  OpBuilder start = OpBuilder::atBlockBegin(&entry);
  for (unsigned i = 0; i < parameterCount; ++i) {
    Value place = LLVM::GEPOp::create(start, loc, pointer, pointer, parameters,
                                      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(i)});
    Value address = LLVM::LoadOp::create(start, loc, pointer, place);
    Value value = LLVM::LoadOp::create(start, loc, entry.getArgument(i).getType(), address);
    entry.getArgument(i).replaceAllUsesWith(value);
  }
  entry.eraseArguments(0, parameterCount);
  createFunction({pointer, word, word});
  source.erase();
}

/// Buffers become pointers where a kernel is launched; one that is never launched may have some still.
static LogicalResult checkParameters(gpu::GPUFuncOp kernel) {
  for (Type type : kernel.getArgumentTypes())
    if (!isa<LLVM::LLVMPointerType>(type) && !type.isIntOrFloat())
      return kernel.emitError("expected a kernel to take pointers and numbers, got ")
             << type << "; moe-gpu-kernel-parameters gives them to kernels that are launched";
  return success();
}

namespace {
struct LowerKernelsPass : moe::impl::LowerKernelsPassBase<LowerKernelsPass> {
  void runOnOperation() override {
    SmallVector<gpu::GPUFuncOp> kernels;
    for (auto device : getOperation().getOps<gpu::GPUModuleOp>())
      llvm::append_range(kernels, device.getOps<gpu::GPUFuncOp>());
    auto target = getOperation()->getAttrOfType<GPUTargetAttr>(MoEDialect::kDeviceAttr);
    if (!target && !kernels.empty()) {
      getOperation().emitError("expected 'moe.device' on the module to name the chip");
      return signalPassFailure();
    }
    for (gpu::GPUFuncOp kernel : kernels)
      if (failed(checkParameters(kernel)))
        return signalPassFailure();
    for (gpu::GPUFuncOp kernel : kernels) {
      if (target.getChip() == "host")
        Kernel(kernel).lowerForHost();
      else
        Kernel(kernel).lowerForNVIDIA();
    }
  }
};
} // namespace
