//===- Nesting.h - How deep IR may be ---------------------------*- C++ -*-===//
//
// Guards for IR that did not come as plain nested text: bytecode, and
// attributes that name each other by aliases.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_NESTING_H
#define MOE_IMPORT_NESTING_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBufferRef.h"
#include "llvm/Support/SourceMgr.h"

#include <memory>

namespace mlir::moe {

/// Fails if operations or the attributes, types and locations on them are
/// nested deeper than walks and printers stand, or would print as more text
/// than memory holds. Needs constant stack.
llvm::Error checkNesting(Operation *op);

/// Parses IR, text or bytecode, without verifying it, and fails if it may not
/// be handed to passes: because of its nesting, or because bytecode is broken.
/// Null, without a word, if the parser refuses it otherwise. The module may use
/// the buffer in `sources`.
llvm::Expected<OwningOpRef<ModuleOp>>
parseGuarded(const std::shared_ptr<llvm::SourceMgr> &sources,
             MLIRContext &context);

/// The same for who does not need the module.
llvm::Error guardNesting(llvm::MemoryBufferRef source, MLIRContext &context);

} // namespace mlir::moe

#endif // MOE_IMPORT_NESTING_H
