//===- PhasedLaunch.cpp - Several loops in one launch ---------------------===//
//
// Threads of a block go through the iterations of a phase together and wait for each other behind it. The last block
// to arrive goes on alone: which one that is decides nothing but who does it.
//
//===----------------------------------------------------------------------===//

#include "Launch.h"
#include "Phases.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace mlir::moe;

static Value index(OpBuilder &builder, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

PhasedLaunch::PhasedLaunch(ArrayRef<scf::ParallelOp> loops, func::FuncOp ticketFunction)
    : host(loops.back()), loc(loops.back()->getLoc()) {
  for (scf::ParallelOp loop : loops) {
    phases.emplace_back(host, loop);
    captures.require(phases.back(), phases.back().trips.front());
  }
  // One block more than none, since the last one has work without any iteration of others.
  int64_t rows = getPhase(loops.front())->rows;
  Value tokens = phases.front().trips.front(), one = index(host, loc, 1);
  Value padded = host.createOrFold<arith::AddIOp>(loc, tokens, index(host, loc, rows - 1));
  blocks = host.createOrFold<arith::DivUIOp>(loc, padded, index(host, loc, rows));
  blocks = host.createOrFold<arith::MaxSIOp>(loc, blocks, one);
  ticket = func::CallOp::create(host, loc, ticketFunction).getResult(0);
  captures.require(blocks);
  captures.require(ticket);
}

/// Iterations of the phase, a stride of the block's threads apart.
void PhasedLaunch::buildPhase(OpBuilder &builder, Iterations &phase, const IRMapping &mapping) {
  Phase place = *getPhase(phase.loop);
  Value total = mapping.lookup(phase.trips.front()), first;
  if (!place.isOfLastBlock()) {
    Value rows = index(builder, loc, place.rows);
    first = arith::MulIOp::create(builder, loc, block, rows);
    Value rest = arith::MaxSIOp::create(builder, loc, arith::SubIOp::create(builder, loc, total, first),
                                        index(builder, loc, 0));
    total = arith::MinSIOp::create(builder, loc, rest, rows);
  }
  for (Value trip : ArrayRef(phase.trips).drop_front())
    total = builder.createOrFold<arith::MulIOp>(loc, total, mapping.lookup(trip));
  auto loop = scf::ForOp::create(builder, loc, thread, total, threads);
  OpBuilder inside = OpBuilder::atBlockBegin(loop.getBody());
  phase.buildBody(inside, loop.getInductionVar(), first, mapping);
  // Memory of a thread is of the thread, not of a round of its loop.
  Operation *start = &loop->getParentOfType<gpu::GPUFuncOp>().front().front();
  loop.walk([&](memref::AllocaOp alloca) { alloca->moveBefore(start); });
}

/// Whether all other blocks are through, for all threads of the block. Behind the barrier in front of it, one thread
/// makes what its block wrote visible before it counts the block, and sees what the blocks counted before have written.
/// The count wraps around with the last block: the next launch finds 0 again.
Value PhasedLaunch::buildIsLast(OpBuilder &builder, const IRMapping &mapping) {
  Type word = builder.getI32Type();
  Value others = arith::SubIOp::create(builder, loc, mapping.lookup(blocks), index(builder, loc, 1));
  others = arith::IndexCastOp::create(builder, loc, word, others);
  Value isFirst = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, thread, index(builder, loc, 0));
  auto count = [&](OpBuilder &b, Location loc) {
    LLVM::FenceOp::create(b, loc, LLVM::AtomicOrdering::acq_rel, "device");
    Value before = LLVM::AtomicRMWOp::create(b, loc, LLVM::AtomicBinOp::uinc_wrap, mapping.lookup(ticket), others,
                                             LLVM::AtomicOrdering::monotonic, "device");
    LLVM::FenceOp::create(b, loc, LLVM::AtomicOrdering::acq_rel, "device");
    Value isLast = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, before, others);
    scf::YieldOp::create(b, loc, arith::ExtUIOp::create(b, loc, word, isLast).getResult());
  };
  auto none = [&](OpBuilder &b, Location loc) {
    scf::YieldOp::create(b, loc, arith::ConstantIntOp::create(b, loc, word, 0).getResult());
  };
  Value own = scf::IfOp::create(builder, loc, isFirst, count, none).getResult(0);
  auto operation = gpu::AllReduceOperationAttr::get(builder.getContext(), gpu::AllReduceOperation::OR);
  Value any = gpu::AllReduceOp::create(builder, loc, own, operation, /*uniform=*/true);
  Value zero = arith::ConstantIntOp::create(builder, loc, word, 0);
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, any, zero);
}

void PhasedLaunch::build(gpu::GPUFuncOp kernel) {
  OpBuilder builder = OpBuilder::atBlockBegin(&kernel.getBody().front());
  IRMapping mapping = captures.buildInside(builder, kernel);
  block = gpu::BlockIdOp::create(builder, loc, gpu::Dimension::x);
  thread = gpu::ThreadIdOp::create(builder, loc, gpu::Dimension::x);
  threads = gpu::BlockDimOp::create(builder, loc, gpu::Dimension::x);
  bool isOfLastBlock = false;
  for (Iterations &phase : phases) {
    if (getPhase(phase.loop)->isOfLastBlock() && !isOfLastBlock) {
      isOfLastBlock = true;
      auto guard = scf::IfOp::create(builder, loc, buildIsLast(builder, mapping), /*withElseRegion=*/false);
      builder.setInsertionPointToStart(guard.thenBlock());
    }
    buildPhase(builder, phase, mapping);
    gpu::BarrierOp::create(builder, loc);
  }
  builder.setInsertionPointToEnd(&kernel.getBody().front());
  gpu::ReturnOp::create(builder, loc);

  Value one = index(host, loc, 1);
  gpu::LaunchFuncOp::create(host, loc, kernel, gpu::KernelDim3{blocks, one, one},
                            gpu::KernelDim3{index(host, loc, kThreads), one, one}, /*dynamicSharedMemorySize=*/Value(),
                            getArguments());
  for (Iterations &phase : phases)
    phase.loop.erase();
}
