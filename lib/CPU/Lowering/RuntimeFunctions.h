//===- RuntimeFunctions.h - Calls of the runtime ----------------*- C++ -*-===//
//
// Generated code calls the session's allocator and profile, and OpenMP, by name.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_CPU_LOWERING_RUNTIMEFUNCTIONS_H
#define MOE_LIB_CPU_LOWERING_RUNTIMEFUNCTIONS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {

/// Calls `name`, which is declared with the types of this call unless it is already.
inline func::CallOp callRuntime(OpBuilder &builder, Location loc, SymbolTable &symbols, StringRef name,
                                TypeRange results, ValueRange arguments) {
  auto callee = symbols.lookup<func::FuncOp>(name);
  if (!callee) {
    OpBuilder detached(builder.getContext());
    callee = func::FuncOp::create(detached, loc, name, builder.getFunctionType(arguments.getTypes(), results));
    callee.setPrivate();
    symbols.insert(callee);
  }
  return func::CallOp::create(builder, loc, callee, arguments);
}

} // namespace mlir::moe

#endif // MOE_LIB_CPU_LOWERING_RUNTIMEFUNCTIONS_H
