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
#include "mlir/Dialect/SCF/IR/SCF.h"

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
  void replaceBarriers(llvm::function_ref<Value(OpBuilder &, Location, Value)> build);
  void runInOneThread(Value thread);
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

/// `build` makes a barrier; where it is handed a number, it gives whether that is not 0 in any thread of the block.
void Kernel::replaceBarriers(llvm::function_ref<Value(OpBuilder &, Location, Value)> build) {
  SmallVector<Operation *> barriers;
  source.walk([&](Operation *op) {
    if (isa<gpu::BarrierOp, gpu::AllReduceOp>(op))
      barriers.push_back(op);
  });
  for (Operation *op : barriers) {
    OpBuilder at(op);
    auto reduction = dyn_cast<gpu::AllReduceOp>(op);
    Value any = build(at, op->getLoc(), reduction ? reduction.getValue() : Value());
    if (reduction)
      reduction.getResult().replaceAllUsesWith(any);
    op->erase();
  }
}

/// Lets thread 0 alone run the kernel.
void Kernel::runInOneThread(Value thread) {
  Block &entry = source.getBody().front();
  Operation *first = &entry.front();
  OpBuilder start(first);
  Value zero = arith::ConstantIntOp::create(start, loc, thread.getType(), 0);
  Value isFirst = arith::CmpIOp::create(start, loc, arith::CmpIPredicate::eq, thread, zero);
  auto guard = scf::IfOp::create(start, loc, isFirst, /*withElseRegion=*/false);
  Block *guarded = guard.thenBlock();
  guarded->getOperations().splice(guarded->begin(), entry.getOperations(), first->getIterator(),
                                  entry.getTerminator()->getIterator());
}

void Kernel::lowerForNVIDIA() {
  Type i32 = builder.getI32Type();
  replaceIds<gpu::BlockIdOp>(
      [&](OpBuilder &b, Location loc) -> Value { return NVVM::BlockIdXOp::create(b, loc, i32); });
  replaceIds<gpu::ThreadIdOp>(
      [&](OpBuilder &b, Location loc) -> Value { return NVVM::ThreadIdXOp::create(b, loc, i32); });
  replaceIds<gpu::BlockDimOp>([&](OpBuilder &b, Location loc) -> Value {
    return arith::ConstantIntOp::create(b, loc, i32, source.getKnownBlockSize()->front());
  });
  replaceBarriers([&](OpBuilder &b, Location loc, Value number) -> Value {
    if (!number) {
      NVVM::BarrierOp::create(b, loc);
      return {};
    }
    auto any = NVVM::BarrierReductionAttr::get(b.getContext(), NVVM::BarrierReduction::OR);
    return NVVM::BarrierOp::create(b, loc, i32, Value(), Value(), any, number).getResult(0);
  });
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
  // Who asks for the size of blocks gets along with any.
  bool isPhased = !source.getBody().getOps<gpu::BlockDimOp>().empty();
  if (isPhased)
    runInOneThread(thread);
  auto constant = [&](int64_t value) {
    return [&, value](OpBuilder &b, Location loc) -> Value {
      return arith::ConstantIntOp::create(b, loc, word, value);
    };
  };
  replaceIds<gpu::BlockDimOp>(constant(1));
  replaceIds<gpu::ThreadIdOp>([&](OpBuilder &b, Location loc) { return isPhased ? constant(0)(b, loc) : thread; });
  replaceBarriers([](OpBuilder &, Location, Value number) { return number; });
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
