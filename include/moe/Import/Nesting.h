//===- Nesting.h - What IR may be handed to passes --------------*- C++ -*-===//
//
// Guards for what MLIR's parser, verifier and folds do not stand themselves:
// IR that is nested too deep, as text, as bytecode, or by attributes that name
// each other by aliases; and broken text.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_NESTING_H
#define MOE_IMPORT_NESTING_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/SourceMgr.h"

#include <memory>

namespace mlir::moe {

/// Fails if operations or the attributes, types and locations on them are
/// nested deeper than walks and printers stand, or would print as more text
/// than memory holds. Needs constant stack.
llvm::Error checkNesting(Operation *op);

/// Parses IR, text or bytecode, without verifying it, and fails if it may not
/// be handed to passes: because of its nesting, or because bytecode is broken.
/// The module may use the buffer in `sources`.
///
/// `onError` is given the parser's errors and should not return. What follows
/// an error is not safe: where a parser of an operation destroys a region that
/// it has read (the cases of scf.index_switch, for one), uses of its values
/// outside stay, and write to memory that was freed when they go in turn. If
/// `onError` returns nevertheless, so does this, with null.
llvm::Expected<OwningOpRef<ModuleOp>>
parseGuarded(const std::shared_ptr<llvm::SourceMgr> &sources,
             MLIRContext &context,
             llvm::function_ref<void(Diagnostic &)> onError);

/// Folds and analyses of MLIR read beyond the shape where an index is constant
/// and out of range; its verifier leaves that to them. For verified IR.
LogicalResult checkDimIndices(ModuleOp module);

} // namespace mlir::moe

#endif // MOE_IMPORT_NESTING_H
