//===- Missed.h - Why something was not optimised ---------------*- C++ -*-===//
//
// Missed-optimisation remarks; shown by --remarks-filter-missed and --remark-format of moe-opt.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_TRANSFORMS_MISSED_H
#define MOE_DIALECT_MOE_TRANSFORMS_MISSED_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Remarks.h"

namespace mlir::moe {

/// Says that `pass` left `op` as it is, and why.
inline void reportMissed(Operation *op, llvm::StringLiteral pass, const Twine &reason) {
  remark::missed(op->getLoc(), remark::RemarkOpts::name(op->getName().getStringRef()).category(pass))
      << reason.str();
}

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_TRANSFORMS_MISSED_H
