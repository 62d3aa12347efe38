//===- MoEToKernels.cpp - convert-moe-to-kernels --------------------------===//
//
// The conversion of convert-moe-to-linalg, with patterns whose elements are computed independently in front.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToKernels/MoEToKernels.h"
#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::moe {
#define GEN_PASS_DEF_CONVERTMOETOKERNELSPASS
#include "moe/Conversion/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

namespace {
struct ConvertMoEToKernelsPass : moe::impl::ConvertMoEToKernelsPassBase<ConvertMoEToKernelsPass> {
  using ConvertMoEToKernelsPassBase::ConvertMoEToKernelsPassBase;

  void runOnOperation() override {
    auto populate = [&](const TypeConverter &converter, RewritePatternSet &patterns) {
      populateProductKernelPatterns(converter, patterns);
      populatePlanKernelPatterns(converter, patterns, recordLoad);
      populateRowKernelPatterns(converter, patterns);
    };
    if (failed(convertMoE(getOperation(), recordLoad, populate)))
      signalPassFailure();
  }
};
} // namespace
