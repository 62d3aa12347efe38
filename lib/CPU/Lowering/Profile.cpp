//===- Profile.cpp - Kernels with names -----------------------------------===//
//
// Implements moe-cpu-profile: each outermost loop becomes a function of its own, which the runtime can time and which
// tools such as perf show by name.
//
//===----------------------------------------------------------------------===//

#include "RuntimeFunctions.h"
#include "moe/CPU/Lowering/Passes.h"
#include "moe/Conversion/KernelNames.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::moe {
#define GEN_PASS_DEF_PROFILEPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

/// Loops with effects only; those with results or calls of functions that allocate are steps of the function itself.
static bool isKernel(Operation *op) {
  if (!isa<scf::ParallelOp, scf::ForOp>(op) || op->getNumResults() != 0)
    return false;
  return !op->walk([](func::CallOp call) {
              return call.getCallee().starts_with("omp_") ? WalkResult::advance() : WalkResult::interrupt();
            }).wasInterrupted();
}

namespace {
struct ProfilePass : moe::impl::ProfilePassBase<ProfilePass> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    counts.clear();
    SmallVector<std::pair<func::FuncOp, Operation *>> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Block &block : function.getBody())
        for (Operation &op : block)
          if (isKernel(&op))
            kernels.push_back({function, &op});
    for (auto [function, op] : kernels)
      outline(function, op, symbols);
  }

  llvm::StringMap<unsigned> counts;

  /// Moves `op` to a function and calls that between the runtime's brackets.
  void outline(func::FuncOp function, Operation *op, SymbolTable &symbols) {
    std::string name = getKernelName(function, op);
    // Equal names are numbered, in the order of the program.
    if (unsigned number = counts[name]++)
      name += "." + std::to_string(number);
    Location loc = op->getLoc();
    SetVector<Value> used(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), used);
    // Constants are made anew inside, so that bounds and strides stay known.
    SmallVector<Value> arguments;
    SmallVector<Operation *> constants;
    for (Value value : used) {
      Operation *definition = value.getDefiningOp();
      if (definition && definition->hasTrait<OpTrait::ConstantLike>())
        constants.push_back(definition);
      else
        arguments.push_back(value);
    }
    OpBuilder builder(op);
    OpBuilder detached(op->getContext());
    auto kernel = func::FuncOp::create(detached, loc, name, builder.getFunctionType(TypeRange(ValueRange(arguments)), {}));
    kernel.setPrivate();
    kernel->setAttr("no_inline", builder.getUnitAttr());
    symbols.insert(kernel);
    IRMapping mapping;
    Block *entry = kernel.addEntryBlock();
    mapping.map(arguments, entry->getArguments());
    detached.setInsertionPointToStart(entry);
    for (Operation *constant : constants)
      detached.clone(*constant, mapping);
    detached.clone(*op, mapping);
    func::ReturnOp::create(detached, loc);

    Value text = buildName(builder, loc, kernel.getName(), symbols);
    callRuntime(builder, loc, symbols, "moe_profile_begin", {}, text);
    func::CallOp::create(builder, loc, kernel, arguments);
    callRuntime(builder, loc, symbols, "moe_profile_end", {}, text);
    op->erase();
  }

  /// Address of a constant with the kernel's name.
  Value buildName(OpBuilder &builder, Location loc, StringRef name, SymbolTable &symbols) {
    std::string text = name.str() + '\0';
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), text.size());
    OpBuilder detached(builder.getContext());
    auto global = LLVM::GlobalOp::create(detached, loc, type, /*isConstant=*/true, LLVM::Linkage::Private,
                                         "moe_kernel_name." + name.str(), builder.getStringAttr(text));
    symbols.insert(global);
    return LLVM::AddressOfOp::create(builder, loc, global);
  }
};
} // namespace
