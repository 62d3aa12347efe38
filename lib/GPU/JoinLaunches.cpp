//===- JoinLaunches.cpp - What decides for tokens joins their plan --------===//
//
// Implements moe-gpu-join-launches: kernels in front of a plan become phases of its launch.
//
//===----------------------------------------------------------------------===//

#include "HostValues.h"
#include "Phases.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace mlir::moe {
#define GEN_PASS_DEF_JOINLAUNCHESPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// What a kernel does to memory
//===----------------------------------------------------------------------===//

namespace {
/// How a kernel uses a buffer that is not an iteration's own.
struct Use {
  bool reads = false, writes = false;
  /// In dimension 0 of the buffer only at the iteration's index of dimension 0.
  bool isOfRow = true;
};

/// A kernel and its buffers.
struct Member {
  scf::ParallelOp kernel;
  llvm::MapVector<Value, Use> uses;
  /// Phases of a plan read, of what stands before them, the tokens of their own block.
  bool promises = false;
};
} // namespace

/// The index in dimension 0 of the buffer behind `memref` at which an element with the index `first` lies; null where
/// that is not one of the values at hand.
static OpFoldResult findRow(Value memref, OpFoldResult first) {
  while (Operation *view = memref.getDefiningOp()) {
    if (auto cut = dyn_cast<memref::SubViewOp>(view)) {
      OpFoldResult offset = cut.getMixedOffsets().front();
      if (isConstantIntValue(cut.getMixedSizes().front(), 1))
        first = offset;
      else if (!isConstantIntValue(offset, 0))
        return {};
      memref = cut.getSource();
    } else if (auto cast = dyn_cast<memref::CastOp>(view)) {
      memref = cast.getSource();
    } else {
      return isa<ViewLikeOpInterface>(view) ? OpFoldResult() : first;
    }
  }
  return first;
}

/// The buffers of `kernel`, or nothing where an operation does what is not followed.
static std::optional<Member> describe(scf::ParallelOp kernel) {
  Member member;
  member.kernel = kernel;
  Value index = kernel.getInductionVars().front();
  WalkResult walk = kernel.walk([&](Operation *op) {
    auto load = dyn_cast<memref::LoadOp>(op);
    auto store = dyn_cast<memref::StoreOp>(op);
    if (!load && !store) {
      bool harmless = isa<memref::AllocOp, memref::AllocaOp, memref::DeallocOp>(op) || isMemoryEffectFree(op) ||
                      op->hasTrait<OpTrait::HasRecursiveMemoryEffects>();
      return harmless ? WalkResult::advance() : WalkResult::interrupt();
    }
    Value memref = load ? load.getMemref() : store.getMemref(), buffer = findBuffer(memref);
    if (!buffer)
      return WalkResult::interrupt();
    if (kernel->isAncestor(buffer.getParentBlock()->getParentOp()))
      return WalkResult::advance();
    ValueRange indices = load ? load.getIndices() : store.getIndices();
    OpFoldResult row = findRow(memref, indices.empty() ? OpFoldResult() : indices.front());
    Use &use = member.uses[buffer];
    use.reads |= static_cast<bool>(load);
    use.writes |= static_cast<bool>(store);
    use.isOfRow &= row && dyn_cast<Value>(row) == index;
    return WalkResult::advance();
  });
  return walk.wasInterrupted() ? std::nullopt : std::optional(std::move(member));
}

/// Whether the order of the two matters.
static bool conflict(const Use &first, const Use &second) {
  return (first.writes && (second.reads || second.writes)) || (first.reads && second.writes);
}

static bool conflict(const Member &first, const Member &second) {
  return llvm::any_of(first.uses, [&](const auto &entry) {
    auto other = second.uses.find(entry.first);
    return other != second.uses.end() && conflict(entry.second, other->second);
  });
}

//===----------------------------------------------------------------------===//
// One launch
//===----------------------------------------------------------------------===//

namespace {
/// The phases of one launch.
class Launch {
public:
  Launch(scf::ParallelOp first, const HostValues &values) : values(values), tokens(first.getUpperBound().front()) {}

  bool add(scf::ParallelOp phase);
  /// Adds kernels in front of the phases, going back from them.
  void extend();

private:
  bool runsOverTokens(scf::ParallelOp kernel);
  bool canJoin(const Member &member);
  bool isUsedOutside(Value buffer, const Member &member);
  bool isWanted(const Member &member);
  void join(Member member);

  const HostValues &values;
  Value tokens;
  SmallVector<Member, 0> members; ///< in order
};
} // namespace

bool Launch::add(scf::ParallelOp phase) {
  std::optional<Member> member = describe(phase);
  if (!member)
    return false;
  member->promises = true;
  members.push_back(std::move(*member));
  return true;
}

void Launch::join(Member member) {
  Phase phase{getPhase(members.front().kernel)->launch, kTokensPerBlock};
  setPhase(member.kernel, phase);
  members.insert(members.begin(), std::move(member));
}

/// Whether dimension 0 of `kernel` are the tokens, and the host knows all that the launch takes.
bool Launch::runsOverTokens(scf::ParallelOp kernel) {
  Value end = kernel.getUpperBound().front();
  std::optional<int64_t> count = getConstantIntValue(end);
  bool same = end == tokens || (count && count == getConstantIntValue(tokens));
  if (!same || !isConstantIntValue(kernel.getLowerBound().front(), 0) ||
      !isConstantIntValue(kernel.getStep().front(), 1) || !kernel.getInitVals().empty())
    return false;
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(kernel.getRegion(), captured);
  captured.insert_range(kernel->getOperands());
  return llvm::all_of(captured, [&](Value value) { return values.isKnown(value); });
}

/// Whether the kernel may run block by block in front of the phases: what it writes is read, in blocks, by the same
/// tokens alone. Phases of the last block come behind all blocks.
bool Launch::canJoin(const Member &member) {
  if (!runsOverTokens(member.kernel))
    return false;
  for (const auto &[buffer, use] : member.uses)
    if (use.writes && !use.isOfRow)
      return false;
  for (const Member &later : members) {
    if (getPhase(later.kernel)->isOfLastBlock())
      continue;
    for (const auto &[buffer, use] : member.uses) {
      const auto *other = later.uses.find(buffer);
      if (other == later.uses.end() || !conflict(use, other->second))
        continue;
      if (!use.isOfRow || (later.promises ? other->second.writes : !other->second.isOfRow))
        return false;
    }
  }
  return true;
}

/// Whether anybody but `member` and the phases uses `buffer`.
bool Launch::isUsedOutside(Value buffer, const Member &member) {
  return llvm::any_of(buffer.getUsers(), [&](Operation *user) {
    scf::ParallelOp kernel = getKernelOf(user);
    if (kernel)
      return kernel != member.kernel &&
             llvm::none_of(members, [&](const Member &phase) { return phase.kernel == kernel; });
    if (isa<ViewLikeOpInterface>(user))
      return isUsedOutside(user->getResult(0), member);
    return !isa<memref::DimOp, memref::DeallocOp>(user);
  });
}

/// Whether the kernel makes what the plan is made from, or something for the phases alone.
bool Launch::isWanted(const Member &member) {
  return llvm::any_of(member.uses, [&](const std::pair<Value, Use> &entry) {
    Value buffer = entry.first;
    if (!entry.second.writes || !buffer.getDefiningOp<memref::AllocOp>())
      return false;
    auto reads = [&](const Member &phase) { return phase.uses.contains(buffer); };
    if (llvm::any_of(members, [&](const Member &phase) { return phase.promises && reads(phase); }))
      return true;
    return llvm::any_of(members, reads) && !isUsedOutside(buffer, member);
  });
}

void Launch::extend() {
  // Kernels in between that stay in front of the launch, the nearest first.
  SmallVector<Member, 0> staying;
  for (Operation *op = members.front().kernel->getPrevNode(); op; op = op->getPrevNode()) {
    auto kernel = dyn_cast<scf::ParallelOp>(op);
    if (!kernel && (isPure(op) || isa<memref::AllocOp>(op)))
      continue;
    std::optional<Member> member = kernel ? describe(kernel) : std::nullopt;
    if (!member)
      return;
    if (!canJoin(*member) || !isWanted(*member)) {
      staying.push_back(std::move(*member));
      continue;
    }
    // It moves behind those that stay. If it may not, they come along.
    if (llvm::any_of(staying, [&](const Member &other) { return conflict(*member, other); })) {
      for (Member &other : staying) {
        if (!canJoin(other))
          return;
        join(std::move(other));
      }
      staying.clear();
      if (!canJoin(*member))
        return;
    }
    join(std::move(*member));
  }
}

namespace {
struct JoinLaunchesPass : moe::impl::JoinLaunchesPassBase<JoinLaunchesPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    HostValues values(function);
    llvm::MapVector<int64_t, SmallVector<scf::ParallelOp>> launches;
    for (scf::ParallelOp kernel : getKernels(function))
      if (std::optional<Phase> phase = getPhase(kernel))
        launches[phase->launch].push_back(kernel);
    for (auto &[number, phases] : launches) {
      Launch launch(phases.front(), values);
      if (llvm::all_of(phases, [&](scf::ParallelOp phase) { return launch.add(phase); }))
        launch.extend();
    }
  }
};
} // namespace
