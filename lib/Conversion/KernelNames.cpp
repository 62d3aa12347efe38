//===- KernelNames.cpp - Readable names of loops --------------------------===//
//
// A loop is called after its function and the names of its location.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/KernelNames.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::moe;

/// The names of a location, outermost first; of a fused one those of its first part that has names.
static void collectNames(Location location, SmallVectorImpl<StringRef> &names) {
  if (auto named = dyn_cast<NameLoc>(location)) {
    collectNames(named.getChildLoc(), names);
    names.push_back(named.getName().getValue());
  } else if (auto call = dyn_cast<CallSiteLoc>(location)) {
    collectNames(call.getCallee(), names);
  } else if (auto fused = dyn_cast<FusedLoc>(location)) {
    for (Location part : fused.getLocations()) {
      collectNames(part, names);
      if (!names.empty())
        return;
    }
  }
}

std::string moe::getKernelName(func::FuncOp function, Operation *op) {
  SmallVector<StringRef> names;
  collectNames(op->getLoc(), names);
  std::string name = function.getName().str();
  for (StringRef part : names)
    if (part != function.getName())
      name += "." + part.str();
  if (names.empty())
    name += ".loop";
  for (char &letter : name)
    if (!llvm::isAlnum(letter) && letter != '.' && letter != '_')
      letter = '_';
  return name;
}
