//===- CheckTokens.cpp - Whether the most tokens of a call are too many ---===//
//
// Implements moe-gpu-check-tokens: what grids and buffers can be at most, from the most tokens of a call on.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/LoopBuffers.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CHECKTOKENSPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// The most that an index can be, saturated; nothing where that is not known.
using Most = std::optional<uint64_t>;

/// What `function` makes of both, if both are known.
static Most combine(Most first, Most second, function_ref<uint64_t(uint64_t, uint64_t)> function) {
  return first && second ? Most(function(*first, *second)) : std::nullopt;
}

namespace {
/// Follows indices and extents of buffers, across calls, to constants and to the arguments of public functions. Numbers
/// of the host are never negative, but for what is subtracted from an extent and then selected away.
class Limits {
public:
  Limits(ModuleOp module, int64_t maxTokens);

  Most get(Value index);
  Most getBytes(memref::AllocOp alloc);

private:
  Most get(OpFoldResult size);
  Most getOfOperation(Operation *op);
  Most getExtent(Value buffer, int64_t dim);
  Most getExtentOfArgument(BlockArgument argument, int64_t dim);
  Most getOfCalls(BlockArgument argument, function_ref<Most(Value)> getOperand);

  uint64_t maxTokens;
  llvm::StringMap<SmallVector<func::CallOp>> calls; ///< by the function called
  llvm::DenseMap<Value, Most> known;                ///< of indices
};
} // namespace

Limits::Limits(ModuleOp module, int64_t maxTokens) : maxTokens(maxTokens) {
  module.walk([&](func::CallOp call) { calls[call.getCallee()].push_back(call); });
}

/// The largest of what callers pass.
Most Limits::getOfCalls(BlockArgument argument, function_ref<Most(Value)> getOperand) {
  auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
  if (!function || function.isPublic())
    return std::nullopt;
  Most most = 0;
  for (func::CallOp call : calls.lookup(function.getName()))
    most = combine(most, getOperand(call.getOperand(argument.getArgNumber())),
                   [](uint64_t a, uint64_t b) { return std::max(a, b); });
  return most;
}

/// What is given to the program has a row for each token, but for its caches and parameters.
Most Limits::getExtentOfArgument(BlockArgument argument, int64_t dim) {
  auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
  if (!function || !function.isPublic())
    return getOfCalls(argument, [&](Value operand) { return getExtent(operand, dim); });
  auto role = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), MoEDialect::kRoleAttr);
  bool hasRows = !role || llvm::is_contained({"data", "tokens", "positions", "sequences"}, role.getValue());
  return hasRows && dim == 0 ? Most(maxTokens) : std::nullopt;
}

Most Limits::getExtent(Value buffer, int64_t dim) {
  auto type = cast<MemRefType>(buffer.getType());
  if (!type.isDynamicDim(dim))
    return type.getDimSize(dim);
  if (auto argument = dyn_cast<BlockArgument>(buffer))
    return getExtentOfArgument(argument, dim);
  return llvm::TypeSwitch<Operation *, Most>(buffer.getDefiningOp())
      .Case([&](memref::AllocOp op) { return get(op.getDynamicSizes()[type.getDynamicDimIndex(dim)]); })
      .Case([&](memref::ViewOp op) { return get(op.getSizes()[type.getDynamicDimIndex(dim)]); })
      .Case([&](memref::CastOp op) { return getExtent(op.getSource(), dim); })
      .Case([&](memref::ReinterpretCastOp op) { return get(op.getMixedSizes()[dim]); })
      .Default([](Operation *) { return std::nullopt; });
}

Most Limits::get(OpFoldResult size) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return *constant < 0 ? std::nullopt : Most(*constant);
  return get(cast<Value>(size));
}

Most Limits::get(Value index) {
  auto [entry, isNew] = known.try_emplace(index);
  if (!isNew)
    return entry->second;
  Most most;
  if (std::optional<int64_t> constant = getConstantIntValue(index))
    most = *constant < 0 ? std::nullopt : Most(*constant);
  else if (auto argument = dyn_cast<BlockArgument>(index))
    most = getOfCalls(argument, [&](Value operand) { return get(operand); });
  else
    most = getOfOperation(index.getDefiningOp());
  known[index] = most;
  return most;
}

Most Limits::getOfOperation(Operation *op) {
  auto operand = [&](unsigned number) { return get(op->getOperand(number)); };
  auto smaller = [](Most a, Most b) { return a && b ? std::min(a, b) : a ? a : b; };
  return llvm::TypeSwitch<Operation *, Most>(op)
      .Case([&](arith::AddIOp) {
        return combine(operand(0), operand(1), [](uint64_t a, uint64_t b) { return llvm::SaturatingAdd(a, b); });
      })
      .Case([&](arith::MulIOp) {
        return combine(operand(0), operand(1), [](uint64_t a, uint64_t b) { return llvm::SaturatingMultiply(a, b); });
      })
      .Case([&](arith::SubIOp difference) {
        std::optional<int64_t> less = getConstantIntValue(difference.getRhs());
        Most from = operand(0);
        return from && less && *less > 0 ? Most(*from - std::min<uint64_t>(*from, *less)) : from;
      })
      .Case<arith::DivUIOp, arith::DivSIOp>([&](auto quotient) {
        std::optional<int64_t> by = getConstantIntValue(quotient.getRhs());
        Most from = operand(0);
        return from && by && *by > 0 ? Most(*from / *by) : from;
      })
      .Case<arith::MaxSIOp, arith::MaxUIOp>([&](Operation *) {
        return combine(operand(0), operand(1), [](uint64_t a, uint64_t b) { return std::max(a, b); });
      })
      .Case<arith::MinSIOp, arith::MinUIOp>([&](Operation *) { return smaller(operand(0), operand(1)); })
      .Case([&](arith::SelectOp) {
        return combine(operand(1), operand(2), [](uint64_t a, uint64_t b) { return std::max(a, b); });
      })
      .Case([&](memref::DimOp extent) {
        std::optional<int64_t> dim = extent.getConstantIndex();
        return dim && isa<MemRefType>(extent.getSource().getType()) ? getExtent(extent.getSource(), *dim)
                                                                    : std::nullopt;
      })
      .Default([](Operation *) { return std::nullopt; });
}

Most Limits::getBytes(memref::AllocOp alloc) {
  Most bytes = getElementBytes(alloc.getType());
  for (int64_t dim = 0; dim < alloc.getType().getRank(); ++dim)
    bytes = combine(bytes, getExtent(alloc, dim),
                    [](uint64_t a, uint64_t b) { return llvm::SaturatingMultiply(a, b); });
  return bytes;
}

namespace {
struct CheckTokensPass : moe::impl::CheckTokensPassBase<CheckTokensPass> {
  void runOnOperation() override {
    auto target = getOperation()->getAttrOfType<GPUTargetAttr>(MoEDialect::kDeviceAttr);
    if (!target)
      return;
    Limits limits(getOperation(), target.getMaxTokens());
    WalkResult walk = getOperation().walk([&](Operation *op) {
      InFlightDiagnostic error = check(op, limits);
      if (succeeded(error))
        return WalkResult::advance();
      error << " for calls of " << target.getMaxTokens() << " tokens; a smaller --max-tokens needs less";
      return WalkResult::interrupt();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }

private:
  /// What CUDA takes, and what the runtime's work space can be.
  static constexpr uint64_t kMaxBlocks = INT32_MAX, kMaxBytes = uint64_t(1) << 47;

  /// The beginning of an error at `op`, or none.
  static InFlightDiagnostic check(Operation *op, Limits &limits) {
    if (auto launch = dyn_cast<gpu::LaunchFuncOp>(op))
      if (Most blocks = limits.get(launch.getGridSizeX()); blocks > kMaxBlocks)
        return launch.emitError() << "expected at most " << kMaxBlocks << " blocks of kernel '"
                                  << launch.getKernelName().getValue() << "', got " << *blocks;
    if (auto alloc = dyn_cast<memref::AllocOp>(op))
      if (Most bytes = limits.getBytes(alloc); bytes > kMaxBytes)
        return alloc.emitError() << "expected a buffer of at most " << kMaxBytes << " bytes, got " << *bytes;
    return {};
  }
};
} // namespace
