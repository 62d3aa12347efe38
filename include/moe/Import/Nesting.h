//===- Nesting.h - How deep IR may be ---------------------------*- C++ -*-===//
//
// Guards for IR that did not come as plain nested text: bytecode, and
// attributes that name each other by aliases.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_NESTING_H
#define MOE_IMPORT_NESTING_H

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Operation.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBufferRef.h"

namespace mlir::moe {

/// Fails if operations or the attributes, types and locations on them are
/// nested deeper than walks and printers stand, or would print as more text
/// than memory holds. Needs constant stack.
llvm::Error checkNesting(Operation *op);

/// Reads IR, text or bytecode, and fails if it may not be handed to a parser
/// and to passes: because of its nesting, or because bytecode is broken.
/// Bytecode is parsed once for this, in `context`.
llvm::Error guardNesting(llvm::MemoryBufferRef source, MLIRContext &context);

} // namespace mlir::moe

#endif // MOE_IMPORT_NESTING_H
