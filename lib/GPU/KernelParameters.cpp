//===- KernelParameters.cpp - What a launch passes ------------------------===//
//
// Implements moe-gpu-kernel-parameters: buffers become pointers, strides and sizes, indices become i64.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Passes.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_KERNELPARAMETERSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// Whether the kernel asks for the size of dimension `dim` of its argument. Elements are found by strides alone.
static bool needsSize(Value memref, unsigned dim) {
  return llvm::any_of(memref.getUsers(), [&](Operation *user) {
    if (auto size = dyn_cast<memref::DimOp>(user))
      return !size.getConstantIndex() || *size.getConstantIndex() == dim;
    return !isa<memref::LoadOp, memref::StoreOp, memref::ReinterpretCastOp>(user);
  });
}

namespace {
/// Rewrites one kernel and its launch argument by argument.
class Splitter {
public:
  Splitter(gpu::GPUFuncOp kernel, gpu::LaunchFuncOp launch)
      : kernel(kernel), launch(launch), loc(launch.getLoc()), host(launch),
        device(OpBuilder::atBlockBegin(&kernel.getBody().front())), converter(kernel.getContext()) {}

  LogicalResult run();

private:
  Value addParameter(Value hostValue);
  Value passIndex(Value value);
  Value passBuffer(Value buffer, Value inside);

  gpu::GPUFuncOp kernel;
  gpu::LaunchFuncOp launch;
  Location loc;
  OpBuilder host, device;
  LLVMTypeConverter converter;
  SmallVector<Value> operands; ///< of the launch, as they will be
};
} // namespace

/// A further parameter of the kernel, behind all that it has.
Value Splitter::addParameter(Value hostValue) {
  operands.push_back(hostValue);
  return kernel.getBody().front().addArgument(hostValue.getType(), loc);
}

Value Splitter::passIndex(Value value) {
  Value wide = addParameter(arith::IndexCastOp::create(host, loc, host.getI64Type(), value));
  return arith::IndexCastOp::create(device, loc, device.getIndexType(), wide);
}

/// `inside` is how the kernel knows `buffer` so far.
Value Splitter::passBuffer(Value buffer, Value inside) {
  auto type = cast<MemRefType>(buffer.getType());
  auto [strides, offset] = type.getStridesAndOffset();
  auto whole = memref::ExtractStridedMetadataOp::create(host, loc, buffer);
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(host, loc, buffer);
  if (ShapedType::isDynamic(offset)) {
    Value bytes = arith::ConstantIndexOp::create(
        host, loc, type.getElementType().isIndex() ? 8 : llvm::divideCeil(type.getElementTypeBitWidth(), 8));
    address = arith::AddIOp::create(host, loc, address, arith::MulIOp::create(host, loc, whole.getOffset(), bytes));
    offset = 0;
  }
  Value number = arith::IndexCastOp::create(host, loc, host.getI64Type(), address);
  Value pointer =
      addParameter(LLVM::IntToPtrOp::create(host, loc, LLVM::LLVMPointerType::get(host.getContext()), number));

  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(device, loc, device.getI64Type(), value);
  };
  auto pass = [&](Value value) {
    return addParameter(arith::IndexCastOp::create(host, loc, host.getI64Type(), value));
  };
  auto descriptor = MemRefDescriptor::poison(device, loc, converter.convertType(type));
  descriptor.setAllocatedPtr(device, loc, pointer);
  descriptor.setAlignedPtr(device, loc, pointer);
  descriptor.setOffset(device, loc, constant(offset));
  for (auto [dim, stride] : llvm::enumerate(strides))
    descriptor.setStride(device, loc, dim,
                         ShapedType::isDynamic(stride) ? pass(whole.getStrides()[dim]) : constant(stride));
  for (auto [dim, size] : llvm::enumerate(type.getShape()))
    if (!ShapedType::isDynamic(size))
      descriptor.setSize(device, loc, dim, constant(size));
    else if (needsSize(inside, dim))
      descriptor.setSize(device, loc, dim, pass(whole.getSizes()[dim]));
  return UnrealizedConversionCastOp::create(device, loc, TypeRange(type), Value(descriptor)).getResult(0);
}

LogicalResult Splitter::run() {
  Block &entry = kernel.getBody().front();
  unsigned count = entry.getNumArguments();
  for (unsigned i = 0; i < count; ++i) {
    Value value = launch.getKernelOperands()[i], inside = entry.getArgument(i), replacement;
    Type type = value.getType();
    if (type.isIndex())
      replacement = passIndex(value);
    else if (isa<MemRefType>(type))
      replacement = passBuffer(value, inside);
    else if (isa<IntegerType, FloatType, LLVM::LLVMPointerType>(type))
      replacement = addParameter(value);
    else
      return launch.emitError("expected a kernel to take buffers and numbers, got ") << type;
    inside.replaceAllUsesWith(replacement);
  }
  entry.eraseArguments(0, count);
  launch.getKernelOperandsMutable().assign(operands);
  kernel.setFunctionType(FunctionType::get(kernel.getContext(), entry.getArgumentTypes(), {}));
  return success();
}

namespace {
struct KernelParametersPass : moe::impl::KernelParametersPassBase<KernelParametersPass> {
  void runOnOperation() override {
    SymbolTableCollection symbols;
    WalkResult walk = getOperation().walk([&](gpu::LaunchFuncOp launch) {
      auto kernel = symbols.lookupNearestSymbolFrom<gpu::GPUFuncOp>(launch, launch.getKernel());
      return failed(Splitter(kernel, launch).run()) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
