//===- PrivateBuffers.cpp - Buffers of threads ----------------------------===//
//
// Implements moe-cpu-private-buffers: allocations leave parallel loops, for the stack or for a buffer with room
// for every thread.
//
//===----------------------------------------------------------------------===//

#include "RuntimeFunctions.h"
#include "moe/CPU/Lowering/Passes.h"
#include "moe/Conversion/LoopBuffers.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace mlir::moe {
#define GEN_PASS_DEF_PRIVATEBUFFERSPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Buffers of threads start on cache lines of their own.
constexpr int64_t kAlignment = 64;

/// Whether the buffer may outlive the iteration of the loop that allocates it, for another iteration to read.
static bool escapes(memref::AllocOp alloc, scf::ParallelOp loop) {
  SmallVector<Value> views{alloc.getResult()};
  while (!views.empty()) {
    for (Operation *user : views.pop_back_val().getUsers()) {
      if (user->hasTrait<OpTrait::IsTerminator>() && user->getParentOp() != loop)
        if (!isa<scf::IfOp, scf::IndexSwitchOp, scf::ExecuteRegionOp>(user->getParentOp()))
          return true;
      for (Value result : user->getResults())
        if (isa<BaseMemRefType>(result.getType()))
          views.push_back(result);
    }
  }
  return false;
}

/// The buffer that `memref` is a view of, as far as that is visible. Loops update the buffers they carry in place.
static Value findBuffer(Value memref) {
  while (true) {
    if (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
      memref = view.getViewSource();
    else if (auto loop = memref.getDefiningOp<scf::ForOp>())
      memref = loop.getInitArgs()[cast<OpResult>(memref).getResultNumber()];
    else if (auto argument = dyn_cast<BlockArgument>(memref);
             auto loop = argument ? dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp()) : scf::ForOp())
      memref = loop.getTiedLoopInit(argument)->get();
    else
      return memref;
  }
}

/// An operation in `loop` that may write to `buffer`, or null.
static Operation *findWriter(scf::ParallelOp loop, Value buffer) {
  Operation *writer = nullptr;
  loop.walk([&](Operation *op) {
    auto touches = [&](Value value) {
      return value && isa<BaseMemRefType>(value.getType()) && findBuffer(value) == buffer;
    };
    bool writes = false;
    if (auto effects = dyn_cast<MemoryEffectOpInterface>(op)) {
      SmallVector<MemoryEffects::EffectInstance> instances;
      effects.getEffects(instances);
      writes = llvm::any_of(instances, [&](MemoryEffects::EffectInstance &effect) {
        return isa<MemoryEffects::Write>(effect.getEffect()) && touches(effect.getValue());
      });
    } else if (!op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() && !isa<ViewLikeOpInterface>(op)) {
      writes = llvm::any_of(op->getOperands(), touches);
    }
    if (!writes)
      return WalkResult::advance();
    writer = op;
    return WalkResult::interrupt();
  });
  return writer;
}

namespace {
/// One buffer to move out of one outermost parallel loop.
class Mover {
public:
  Mover(scf::ParallelOp loop, memref::AllocOp alloc, SymbolTable &symbols)
      : loop(loop), alloc(alloc), symbols(symbols), builder(loop), loc(alloc.getLoc()) {}

  /// The buffer becomes a view of one that has room for each thread.
  LogicalResult moveToThreads();

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(builder, loc, value); }
  /// Size of the buffer, rounded up to whole cache lines.
  Value buildBytes(ValueRange extents) { return buildBufferBytes(builder, loc, alloc.getType(), extents, kAlignment); }
  LogicalResult findSlice(SetVector<Operation *> &slice);
  Value buildMaximum(const SetVector<Operation *> &slice);

  scf::ParallelOp loop;
  memref::AllocOp alloc;
  SymbolTable &symbols;
  OpBuilder builder;
  Location loc;
};
} // namespace

/// The operations inside the loop that compute the extents. They may read memory, but only what the loop leaves alone.
LogicalResult Mover::findSlice(SetVector<Operation *> &slice) {
  BackwardSliceOptions options;
  options.inclusive = true;
  options.omitUsesFromAbove = false;
  options.filter = [&](Operation *op) { return loop->isProperAncestor(op); };
  for (Value extent : alloc.getDynamicSizes())
    if (failed(getBackwardSlice(extent, &slice, options)))
      return alloc.emitError("expected the size of a buffer in a parallel loop to be computable before the loop");
  SmallVector<Value> needed(alloc.getDynamicSizes());
  for (Operation *op : slice)
    llvm::append_range(needed, op->getOperands());
  for (Value value : needed) {
    auto argument = dyn_cast<BlockArgument>(value);
    if (argument && loop->isProperAncestor(argument.getOwner()->getParentOp()))
      return alloc.emitError("expected the size of a buffer in a parallel loop not to depend on an inner loop");
  }
  for (Operation *op : slice) {
    if (isPure(op) && op->getParentOp() == loop)
      continue;
    if (auto load = dyn_cast<memref::LoadOp>(op); load && op->getParentOp() == loop)
      if (load.getMemref().getParentRegion()->isProperAncestor(&loop.getRegion())) {
        Operation *writer = findWriter(loop, findBuffer(load.getMemref()));
        if (!writer)
          continue;
        auto diagnostic = alloc.emitError("expected the size of a buffer in a parallel loop not to be read from memory "
                                          "that the loop writes to");
        diagnostic.attachNote(writer->getLoc()) << "it is written here";
        return failure();
      }
    auto diagnostic = alloc.emitError("expected the size of a buffer in a parallel loop to be computable before the "
                                      "loop: the allocator serves one thread");
    diagnostic.attachNote(op->getLoc()) << "it depends on this operation";
    return failure();
  }
  return success();
}

/// The largest size over all iterations, by a serial loop.
Value Mover::buildMaximum(const SetVector<Operation *> &slice) {
  bool varies = !slice.empty() || llvm::any_of(alloc.getDynamicSizes(), [&](Value extent) {
    return extent.getParentRegion() == &loop.getRegion();
  });
  if (!varies)
    return buildBytes(alloc.getDynamicSizes());
  OpBuilder::InsertionGuard guard(builder);
  Value maximum = index(0);
  SmallVector<scf::ForOp> loops;
  IRMapping mapping;
  for (auto [lower, upper, step, variable] : llvm::zip_equal(loop.getLowerBound(), loop.getUpperBound(),
                                                             loop.getStep(), loop.getInductionVars())) {
    loops.push_back(scf::ForOp::create(builder, loc, lower, upper, step, ValueRange(maximum)));
    maximum = loops.back().getRegionIterArg(0);
    mapping.map(variable, loops.back().getInductionVar());
    builder.setInsertionPointToStart(loops.back().getBody());
  }
  for (Operation *op : slice)
    builder.clone(*op, mapping);
  SmallVector<Value> extents;
  for (Value extent : alloc.getDynamicSizes())
    extents.push_back(mapping.lookupOrDefault(extent));
  maximum = arith::MaxSIOp::create(builder, loc, maximum, buildBytes(extents));
  for (scf::ForOp serial : llvm::reverse(loops)) {
    builder.setInsertionPointToEnd(serial.getBody());
    scf::YieldOp::create(builder, loc, maximum);
    maximum = serial.getResult(0);
  }
  return maximum;
}

LogicalResult Mover::moveToThreads() {
  MemRefType type = alloc.getType();
  if (!type.getLayout().isIdentity() || getElementBytes(type) == 0)
    return alloc.emitError("expected a buffer in a parallel loop to be contiguous numbers, got ") << type;
  if (escapes(alloc, loop))
    return alloc.emitError("expected a buffer in a parallel loop to be used in one iteration only");
  SetVector<Operation *> slice;
  if (failed(findSlice(slice)))
    return failure();
  Value bytes = buildMaximum(slice);
  auto asIndex = [&](StringRef function) {
    auto call = callRuntime(builder, loc, symbols, function, builder.getI32Type(), {});
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(), call.getResult(0)).getResult();
  };
  Value all = arith::MulIOp::create(builder, loc, bytes, asIndex("omp_get_max_threads"));
  Value buffer = buildByteBuffer(builder, loc, all, kAlignment);
  builder.setInsertionPoint(alloc);
  Value offset = arith::MulIOp::create(builder, loc, asIndex("omp_get_thread_num"), bytes);
  auto view = memref::ViewOp::create(builder, loc, type, buffer, offset, alloc.getDynamicSizes());
  alloc.replaceAllUsesWith(view.getResult());
  alloc.erase();
  return success();
}

namespace {
struct PrivateBuffersPass : moe::impl::PrivateBuffersPassBase<PrivateBuffersPass> {
  using PrivateBuffersPassBase::PrivateBuffersPassBase;

  /// Takes room on the stack for the buffer, if there is as much left.
  bool takeStack(memref::AllocOp alloc, uint64_t &left) {
    MemRefType type = alloc.getType();
    if (!type.hasStaticShape() || !type.getLayout().isIdentity())
      return false;
    uint64_t bytes = llvm::alignTo(type.getNumElements() * getElementBytes(type), kAlignment);
    if (bytes > left)
      return false;
    left -= bytes;
    return true;
  }

  LogicalResult moveOut(scf::ParallelOp loop, memref::AllocOp alloc, SymbolTable &symbols, uint64_t &stackLeft) {
    if (escapes(alloc, loop) || !takeStack(alloc, stackLeft))
      return Mover(loop, alloc, symbols).moveToThreads();
    // At the start of the iteration and not in an inner loop, where the stack would grow with each round.
    OpBuilder builder = OpBuilder::atBlockBegin(loop.getBody());
    Value buffer = memref::AllocaOp::create(builder, alloc.getLoc(), alloc.getType(),
                                            builder.getI64IntegerAttr(kAlignment));
    alloc.replaceAllUsesWith(buffer);
    alloc.erase();
    return success();
  }

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    for (scf::ParallelOp loop : getOutermostLoops(getOperation())) {
      SmallVector<memref::AllocOp> allocs;
      loop.walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
      uint64_t stackLeft = maxStackBytes;
      for (memref::AllocOp alloc : allocs)
        if (failed(moveOut(loop, alloc, symbols, stackLeft)))
          return signalPassFailure();
      if (failed(checkCalls(loop, symbols)))
        return signalPassFailure();
    }
  }

  /// Functions called in parallel must not allocate either.
  LogicalResult checkCalls(scf::ParallelOp loop, SymbolTable &symbols) {
    SmallVector<func::CallOp> calls;
    SmallPtrSet<Operation *, 8> seen;
    loop.walk([&](func::CallOp call) { calls.push_back(call); });
    for (size_t i = 0; i < calls.size(); ++i) {
      auto callee = symbols.lookup<func::FuncOp>(calls[i].getCallee());
      if (!callee || !seen.insert(callee).second)
        continue;
      WalkResult walk = callee.walk([&](Operation *op) {
        if (auto call = dyn_cast<func::CallOp>(op))
          calls.push_back(call);
        if (!isa<memref::AllocOp>(op))
          return WalkResult::advance();
        auto diagnostic = calls[i].emitError("expected no allocation in a function called from a parallel loop");
        diagnostic.attachNote(op->getLoc()) << "here '" << callee.getName() << "' allocates";
        return WalkResult::interrupt();
      });
      if (walk.wasInterrupted())
        return failure();
    }
    return success();
  }
};
} // namespace
