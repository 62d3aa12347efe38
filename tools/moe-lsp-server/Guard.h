//===- Guard.h - Between an editor and the language server ------*- C++ -*-===//
//
// Documents pass a scan before MLIR's recursive parser sees them.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TOOLS_MOE_LSP_SERVER_GUARD_H
#define MOE_TOOLS_MOE_LSP_SERVER_GUARD_H

#include "llvm/Support/Error.h"

/// From now on standard input gives what came in with each document that is nested too deep replaced by a line that
/// says so. `delimited`: messages are separated as in MLIR's own tests, and have no header.
llvm::Error guardStandardInput(bool delimited);

#endif // MOE_TOOLS_MOE_LSP_SERVER_GUARD_H
