//===- Extents.h - Which extents of arguments are equal ---------*- C++ -*-===//
//
// Two arguments of a program may have one dynamic extent: its tokens, and the
// sequences that they are of. The types do not say so, and the code relies on
// it. Whoever passes arguments has to be told.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_EXTENTS_H
#define MOE_IMPORT_EXTENTS_H

#include "mlir/IR/BuiltinOps.h"

namespace mlir::moe {

/// Sets `moe.extents` on arguments of public functions whose dynamic extents
/// the operations of the function, and of what it calls, take to be equal.
/// Branches and loops are not looked into: what they ask may not be met.
void recordEqualExtents(ModuleOp module);

} // namespace mlir::moe

#endif // MOE_IMPORT_EXTENTS_H
