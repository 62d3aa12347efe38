//===- OutlineKernels.cpp - Kernels in the device module ------------------===//
//
// Implements moe-gpu-outline-kernels: an outermost parallel loop becomes a function of the device and its launch.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"
#include "moe/Conversion/KernelNames.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {
#define GEN_PASS_DEF_OUTLINEKERNELSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Threads of a block.
constexpr int64_t kThreads = 256;

/// Whether a kernel can make `value` itself: a constant, a constant table, or what is computed from such.
static bool isRemade(Value value) {
  Operation *op = value.getDefiningOp();
  return op && isPure(op) && op->getNumRegions() == 0 && llvm::all_of(op->getOperands(), isRemade);
}

namespace {
/// Makes kernels of one module.
class Outliner {
public:
  explicit Outliner(ModuleOp module);
  void outline(func::FuncOp function, scf::ParallelOp loop);

private:
  std::string chooseName(func::FuncOp function, scf::ParallelOp loop);
  void copyGlobals(Operation *kernel);

  ModuleOp module;
  SymbolTable hostSymbols;
  gpu::GPUModuleOp device;
  SymbolTable deviceSymbols;
  llvm::StringMap<unsigned> counts;
};

/// One loop: its iteration space on the host and in the kernel.
class Launch {
public:
  explicit Launch(scf::ParallelOp loop) : loop(loop), host(loop), loc(loop.getLoc()) { countIterations(); }

  /// What the kernel gets.
  SetVector<Value> arguments;
  /// What it makes itself, in an order in which it can.
  SetVector<Operation *> remade;

  void build(gpu::GPUFuncOp kernel);

private:
  void countIterations();
  void require(Value value);
  void buildBody(OpBuilder &builder, IRMapping &mapping);

  scf::ParallelOp loop;
  OpBuilder host;
  Location loc;
  Value total;              ///< iterations
  SmallVector<Value> trips; ///< of each dimension
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

void Outliner::outline(func::FuncOp function, scf::ParallelOp loop) {
  Launch launch(loop);
  Builder builder(module.getContext());
  OpBuilder detached(module.getContext());
  auto type = builder.getFunctionType(TypeRange(ValueRange(launch.arguments.getArrayRef())), {});
  auto kernel = gpu::GPUFuncOp::create(detached, loop.getLoc(), chooseName(function, loop), type);
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  kernel.setKnownBlockSizeAttr(builder.getDenseI32ArrayAttr({static_cast<int32_t>(kThreads), 1, 1}));
  deviceSymbols.insert(kernel);
  launch.build(kernel);
  copyGlobals(kernel);
}

void Launch::countIterations() {
  total = arith::ConstantIndexOp::create(host, loc, 1);
  for (unsigned dim = 0; dim < loop.getNumLoops(); ++dim) {
    trips.push_back(buildTrips(host, loc, loop, dim));
    total = host.createOrFold<arith::MulIOp>(loc, total, trips.back());
    require(loop.getLowerBound()[dim]);
    require(loop.getStep()[dim]);
  }
  // The first dimension is what division leaves.
  for (Value trip : ArrayRef(trips).drop_front())
    require(trip);
  require(total);
  SetVector<Value> used;
  getUsedValuesDefinedAbove(loop.getRegion(), used);
  for (Value value : used)
    require(value);
}

void Launch::require(Value value) {
  if (!isRemade(value)) {
    arguments.insert(value);
    return;
  }
  for (Value operand : value.getDefiningOp()->getOperands())
    require(operand);
  remade.insert(value.getDefiningOp());
}

/// The iteration of each thread, and in it the loop's body.
void Launch::buildBody(OpBuilder &builder, IRMapping &mapping) {
  Value block = gpu::BlockIdOp::create(builder, loc, gpu::Dimension::x);
  Value thread = gpu::ThreadIdOp::create(builder, loc, gpu::Dimension::x);
  Value threads = arith::ConstantIndexOp::create(builder, loc, kThreads);
  Value number = arith::AddIOp::create(builder, loc, arith::MulIOp::create(builder, loc, block, threads), thread);
  Value inside = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, number, mapping.lookup(total));
  auto guard = scf::IfOp::create(builder, loc, inside, /*withElseRegion=*/false);
  builder.setInsertionPointToStart(guard.thenBlock());
  // The last dimension varies fastest: neighbours in a warp are neighbours in memory.
  for (unsigned dim = loop.getNumLoops(); dim-- > 0;) {
    Value own = number;
    if (dim > 0) {
      Value trip = mapping.lookup(trips[dim]);
      own = arith::RemUIOp::create(builder, loc, number, trip);
      number = arith::DivUIOp::create(builder, loc, number, trip);
    }
    own = builder.createOrFold<arith::MulIOp>(loc, own, mapping.lookup(loop.getStep()[dim]));
    own = builder.createOrFold<arith::AddIOp>(loc, own, mapping.lookup(loop.getLowerBound()[dim]));
    mapping.map(loop.getInductionVars()[dim], own);
  }
  for (Operation &op : loop.getBody()->without_terminator())
    builder.clone(op, mapping);
}

void Launch::build(gpu::GPUFuncOp kernel) {
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  IRMapping mapping;
  mapping.map(arguments.getArrayRef(), kernel.getArguments());
  for (Operation *op : remade)
    builder.clone(*op, mapping);
  buildBody(builder, mapping);
  builder.setInsertionPointToEnd(&kernel.getBody().front());
  gpu::ReturnOp::create(builder, loc);

  Value one = arith::ConstantIndexOp::create(host, loc, 1);
  Value threads = arith::ConstantIndexOp::create(host, loc, kThreads);
  Value last = arith::ConstantIndexOp::create(host, loc, kThreads - 1);
  Value padded = host.createOrFold<arith::AddIOp>(loc, total, last);
  Value blocks = host.createOrFold<arith::DivUIOp>(loc, padded, threads);
  gpu::LaunchFuncOp::create(host, loc, kernel, gpu::KernelDim3{blocks, one, one}, gpu::KernelDim3{threads, one, one},
                            /*dynamicSharedMemorySize=*/Value(), arguments.getArrayRef());
  loop.erase();
}

namespace {
struct OutlineKernelsPass : moe::impl::OutlineKernelsPassBase<OutlineKernelsPass> {
  void runOnOperation() override {
    Outliner outliner(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      for (scf::ParallelOp kernel : getKernels(function)) {
        if (!kernel.getInitVals().empty()) {
          kernel.emitError("expected a kernel to have no reduction over its threads");
          return signalPassFailure();
        }
        WalkResult calls = kernel.walk([](func::CallOp call) {
          call.emitError("expected no call of a function in a kernel");
          return WalkResult::interrupt();
        });
        if (calls.wasInterrupted())
          return signalPassFailure();
        outliner.outline(function, kernel);
      }
    }
  }
};
} // namespace
