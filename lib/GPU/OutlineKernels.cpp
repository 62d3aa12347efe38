//===- OutlineKernels.cpp - Kernels in the device module ------------------===//
//
// Implements moe-gpu-outline-kernels: an outermost parallel loop, or several that are phases of one launch, become a
// function of the device and its launch.
//
//===----------------------------------------------------------------------===//

#include "Launch.h"
#include "Phases.h"
#include "moe/Conversion/KernelNames.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {
#define GEN_PASS_DEF_OUTLINEKERNELSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Threads of a block with one loop.
constexpr int64_t kThreads = 256;

namespace {
/// Makes kernels of one module.
class Outliner {
public:
  explicit Outliner(ModuleOp module);
  void outline(func::FuncOp function, scf::ParallelOp loop);
  void outlinePhases(func::FuncOp function, ArrayRef<scf::ParallelOp> loops);

private:
  std::string chooseName(func::FuncOp function, scf::ParallelOp loop);
  gpu::GPUFuncOp createKernel(std::string name, Location loc, ArrayRef<Value> arguments, int64_t threads);
  func::FuncOp declareTicket();
  void copyGlobals(Operation *kernel);

  ModuleOp module;
  SymbolTable hostSymbols;
  gpu::GPUModuleOp device;
  SymbolTable deviceSymbols;
  llvm::StringMap<unsigned> counts;
};

/// One loop with a thread for each iteration.
class Launch {
public:
  explicit Launch(scf::ParallelOp loop);

  ArrayRef<Value> getArguments() const { return captures.getArguments(); }
  void build(gpu::GPUFuncOp kernel);

private:
  OpBuilder host;
  Location loc;
  Iterations iterations;
  Captures captures;
  Value total; ///< iterations
};
} // namespace

Outliner::Outliner(ModuleOp module)
    : module(module), hostSymbols(module),
      device([&] {
        OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
        return gpu::GPUModuleOp::create(builder, module.getLoc(), "device");
      }()),
      deviceSymbols(device) {
  module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(), UnitAttr::get(module.getContext()));
}

/// The name of the loop as PTX can spell it; equal names are numbered, in the order of the program.
std::string Outliner::chooseName(func::FuncOp function, scf::ParallelOp loop) {
  std::string name = getKernelName(function, loop);
  std::replace(name.begin(), name.end(), '.', '_');
  // The first character of a C identifier is no digit.
  if (llvm::isDigit(name.front()))
    name = "_" + name;
  while (unsigned number = counts[name]++)
    name += "_" + std::to_string(number);
  return name;
}

/// Constant tables that the kernel reads, in the module of the device.
void Outliner::copyGlobals(Operation *kernel) {
  kernel->walk([&](memref::GetGlobalOp op) {
    if (deviceSymbols.lookup(op.getName()))
      return;
    auto copy = cast<memref::GlobalOp>(hostSymbols.lookup(op.getName())->clone());
    copy.setVisibility(SymbolTable::Visibility::Private);
    deviceSymbols.insert(copy);
  });
}

gpu::GPUFuncOp Outliner::createKernel(std::string name, Location loc, ArrayRef<Value> arguments, int64_t threads) {
  OpBuilder detached(module.getContext());
  auto type = detached.getFunctionType(TypeRange(ValueRange(arguments)), {});
  auto kernel = gpu::GPUFuncOp::create(detached, loc, name, type);
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), detached.getUnitAttr());
  kernel.setKnownBlockSizeAttr(detached.getDenseI32ArrayAttr({static_cast<int32_t>(threads), 1, 1}));
  deviceSymbols.insert(kernel);
  return kernel;
}

void Outliner::outline(func::FuncOp function, scf::ParallelOp loop) {
  Launch launch(loop);
  gpu::GPUFuncOp kernel = createKernel(chooseName(function, loop), loop.getLoc(), launch.getArguments(), kThreads);
  launch.build(kernel);
  copyGlobals(kernel);
}

/// void *moe_gpu_ticket(void)
func::FuncOp Outliner::declareTicket() {
  constexpr llvm::StringLiteral name = "moe_gpu_ticket";
  if (auto function = hostSymbols.lookup<func::FuncOp>(name))
    return function;
  OpBuilder detached(module.getContext());
  auto type = detached.getFunctionType({}, LLVM::LLVMPointerType::get(module.getContext()));
  auto function = func::FuncOp::create(detached, module.getLoc(), name, type);
  function.setPrivate();
  hostSymbols.insert(function);
  return function;
}

void Outliner::outlinePhases(func::FuncOp function, ArrayRef<scf::ParallelOp> loops) {
  PhasedLaunch launch(loops, declareTicket());
  scf::ParallelOp last = loops.back();
  gpu::GPUFuncOp kernel =
      createKernel(chooseName(function, last), last.getLoc(), launch.getArguments(), PhasedLaunch::kThreads);
  launch.build(kernel);
  copyGlobals(kernel);
}

Launch::Launch(scf::ParallelOp loop) : host(loop), loc(loop.getLoc()), iterations(host, loop) {
  total = arith::ConstantIndexOp::create(host, loc, 1);
  for (Value trip : iterations.trips)
    total = host.createOrFold<arith::MulIOp>(loc, total, trip);
  captures.require(iterations, total);
}

void Launch::build(gpu::GPUFuncOp kernel) {
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  IRMapping mapping = captures.buildInside(builder, kernel);
  Value block = gpu::BlockIdOp::create(builder, loc, gpu::Dimension::x);
  Value thread = gpu::ThreadIdOp::create(builder, loc, gpu::Dimension::x);
  Value size = arith::ConstantIndexOp::create(builder, loc, kThreads);
  Value number = arith::AddIOp::create(builder, loc, arith::MulIOp::create(builder, loc, block, size), thread);
  Value inside = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, number, mapping.lookup(total));
  auto guard = scf::IfOp::create(builder, loc, inside, /*withElseRegion=*/false);
  gpu::ReturnOp::create(builder, loc);
  builder.setInsertionPointToStart(guard.thenBlock());
  iterations.buildBody(builder, number, /*first=*/Value(), mapping);

  Value one = arith::ConstantIndexOp::create(host, loc, 1);
  Value threads = arith::ConstantIndexOp::create(host, loc, kThreads);
  Value last = arith::ConstantIndexOp::create(host, loc, kThreads - 1);
  Value padded = host.createOrFold<arith::AddIOp>(loc, total, last);
  Value blocks = host.createOrFold<arith::DivUIOp>(loc, padded, threads);
  gpu::LaunchFuncOp::create(host, loc, kernel, gpu::KernelDim3{blocks, one, one}, gpu::KernelDim3{threads, one, one},
                            /*dynamicSharedMemorySize=*/Value(), getArguments());
  iterations.loop.erase();
}

/// Why a loop is no kernel, as an error at what is wrong.
static LogicalResult check(scf::ParallelOp kernel) {
  if (!kernel.getInitVals().empty())
    return kernel.emitError("expected a kernel to have no reduction over its threads");
  WalkResult calls = kernel.walk([](func::CallOp call) {
    call.emitError("expected no call of a function in a kernel");
    return WalkResult::interrupt();
  });
  return failure(calls.wasInterrupted());
}

namespace {
struct OutlineKernelsPass : moe::impl::OutlineKernelsPassBase<OutlineKernelsPass> {
  void runOnOperation() override {
    Outliner outliner(getOperation());
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      llvm::MapVector<int64_t, SmallVector<scf::ParallelOp>> phases;
      SmallVector<scf::ParallelOp> kernels = getKernels(function);
      for (scf::ParallelOp kernel : kernels) {
        if (failed(check(kernel)))
          return signalPassFailure();
        if (std::optional<Phase> phase = getPhase(kernel))
          phases[phase->launch].push_back(kernel);
      }
      for (scf::ParallelOp kernel : kernels) {
        std::optional<Phase> phase = getPhase(kernel);
        if (!phase)
          outliner.outline(function, kernel);
        else if (phases[phase->launch].back() == kernel)
          outliner.outlinePhases(function, phases[phase->launch]);
      }
    }
  }
};
} // namespace
