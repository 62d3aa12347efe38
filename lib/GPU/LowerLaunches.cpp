//===- LowerLaunches.cpp - Launches as calls of the runtime ---------------===//
//
// Implements moe-gpu-lower-launches.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {
#define GEN_PASS_DEF_LOWERLAUNCHESPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

static constexpr llvm::StringLiteral kLaunchFunction = "moe_gpu_launch";

namespace {
/// The launches of one function. They share a place for arguments: the runtime has read it when a launch returns.
class Launches {
public:
  Launches(func::FuncOp function, ArrayRef<gpu::LaunchFuncOp> launches, const llvm::StringMap<int32_t> &numbers);
  void lower(gpu::LaunchFuncOp launch);

private:
  Value slot(OpBuilder &builder, Location loc, Value array, Type element, int32_t index) {
    return LLVM::GEPOp::create(builder, loc, pointer, element, array, ArrayRef<LLVM::GEPArg>{index});
  }

  const llvm::StringMap<int32_t> &numbers;
  Type pointer, word;
  Value arguments, table;
};
} // namespace

Launches::Launches(func::FuncOp function, ArrayRef<gpu::LaunchFuncOp> launches,
                   const llvm::StringMap<int32_t> &numbers)
    : numbers(numbers), pointer(LLVM::LLVMPointerType::get(function.getContext())),
      word(IntegerType::get(function.getContext(), 64)) {
  unsigned most = 0;
  for (gpu::LaunchFuncOp launch : launches)
    most = std::max(most, launch.getNumKernelOperands());
  OpBuilder builder = OpBuilder::atBlockBegin(&function.front());
  Location loc = function.getLoc();
  Value count = LLVM::ConstantOp::create(builder, loc, word, std::max(most, 1u));
  arguments = LLVM::AllocaOp::create(builder, loc, pointer, word, count);
  table = LLVM::AllocaOp::create(builder, loc, pointer, pointer, count);
  for (unsigned i = 0; i < most; ++i)
    LLVM::StoreOp::create(builder, loc, slot(builder, loc, arguments, word, i), slot(builder, loc, table, pointer, i));
}

void Launches::lower(gpu::LaunchFuncOp launch) {
  OpBuilder builder(launch);
  Location loc = launch.getLoc();
  for (auto [i, operand] : llvm::enumerate(launch.getKernelOperands()))
    LLVM::StoreOp::create(builder, loc, operand, slot(builder, loc, arguments, word, i));
  Value kernel = arith::ConstantOp::create(
      builder, loc, builder.getI32IntegerAttr(numbers.lookup(launch.getKernelName().getValue())));
  Value blocks = arith::IndexCastOp::create(builder, loc, word, launch.getGridSizeX());
  func::CallOp::create(builder, loc, kLaunchFunction, TypeRange(), ValueRange{kernel, blocks, table});
  launch.erase();
}

namespace {
struct LowerLaunchesPass : moe::impl::LowerLaunchesPassBase<LowerLaunchesPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringMap<int32_t> numbers;
    for (auto device : module.getOps<gpu::GPUModuleOp>())
      for (auto kernel : device.getOps<gpu::GPUFuncOp>())
        numbers.try_emplace(kernel.getName(), numbers.size());
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    Type pointer = LLVM::LLVMPointerType::get(&getContext());
    auto declaration = func::FuncOp::create(
        builder, module.getLoc(), kLaunchFunction,
        builder.getFunctionType({builder.getI32Type(), builder.getI64Type(), pointer}, {}));
    declaration.setPrivate();
    for (auto function : module.getOps<func::FuncOp>()) {
      SmallVector<gpu::LaunchFuncOp> launches;
      function.walk([&](gpu::LaunchFuncOp launch) { launches.push_back(launch); });
      if (launches.empty())
        continue;
      Launches lowering(function, launches, numbers);
      for (gpu::LaunchFuncOp launch : launches)
        lowering.lower(launch);
    }
  }
};
} // namespace
