//===- Phases.h - Several kernels in one launch -----------------*- C++ -*-===//
//
// What a kernel says that shares its launch with others: which launch that is, and which of its blocks run what.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_LIB_GPU_PHASES_H
#define MOE_LIB_GPU_PHASES_H

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace mlir::moe {

/// On a kernel: array<i64: number of the launch in its function, iterations of dimension 0 per block or 0>.
constexpr llvm::StringLiteral kPhaseAttr = "launch.phase";

/// Tokens that one block of a launch with phases is for.
constexpr int64_t kTokensPerBlock = 16;

/// A kernel's part in a launch. Phases run in the order of the program. Block b runs the iterations of dimension 0 from
/// b * rows on, `rows` of them; that what other phases of its launch wrote there is of the same block is a promise.
/// With 0 rows the last block to arrive runs all of them, behind the phases of all blocks.
struct Phase {
  int64_t launch, rows;
  bool isOfLastBlock() const { return rows == 0; }
};

inline std::optional<Phase> getPhase(scf::ParallelOp kernel) {
  auto numbers = kernel->getAttrOfType<DenseI64ArrayAttr>(kPhaseAttr);
  return numbers && numbers.size() == 2 ? std::optional(Phase{numbers[0], numbers[1]}) : std::nullopt;
}

inline void setPhase(scf::ParallelOp kernel, const Phase &phase) {
  kernel->setAttr(kPhaseAttr, DenseI64ArrayAttr::get(kernel.getContext(), {phase.launch, phase.rows}));
}

} // namespace mlir::moe

#endif // MOE_LIB_GPU_PHASES_H
