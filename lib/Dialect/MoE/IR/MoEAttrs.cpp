//===- MoEAttrs.cpp - Attributes of the moe dialect -----------------------===//
//
// Registration; the behaviour of scores, policies, weightings and recipes stands in files of their own.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;

#define GET_ATTRDEF_CLASSES
#include "moe/Dialect/MoE/IR/MoEAttrs.cpp.inc"

void MoEDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "moe/Dialect/MoE/IR/MoEAttrs.cpp.inc"
      >();
}

LogicalResult CPUTargetAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, StringRef, StringRef,
                                    int64_t vectorBits, int64_t l1Bytes, int64_t l2Bytes) {
  if (vectorBits != 256 && vectorBits != 512)
    return emitError() << "expected 'vectorBits' to be 256 or 512, got " << vectorBits;
  if (l1Bytes < 1 || l2Bytes < 1)
    return emitError() << "expected cache sizes to be positive";
  return success();
}

LogicalResult GPUTargetAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, StringRef chip,
                                    int64_t maxTokens) {
  if (chip.empty())
    return emitError() << "expected the name of a chip";
  if (maxTokens < 1)
    return emitError() << "expected 'maxTokens' to be 1 or more, got " << maxTokens;
  return success();
}
