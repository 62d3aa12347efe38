//===- RecordLoad.cpp - Loads of experts reach the runtime ----------------===//
//
// Implements moe-cpu-record-load: calls that hand a buffer of offsets over become calls of the C function.
//
//===----------------------------------------------------------------------===//

#include "moe/CPU/Lowering/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_RECORDLOADPASS
#include "moe/CPU/Lowering/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;

/// void moe_record_load(const int64_t *offsets, int64_t experts), from the buffer of `call`.
static void passPointer(func::CallOp call) {
  OpBuilder builder(call);
  Location loc = call.getLoc();
  Value buffer = call.getOperand(0);
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(builder, loc, buffer);
  Value number = arith::IndexCastOp::create(builder, loc, builder.getI64Type(), address);
  Value pointer = LLVM::IntToPtrOp::create(builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), number);
  Value entries = memref::DimOp::create(builder, loc, buffer, 0);
  Value one = arith::ConstantIndexOp::create(builder, loc, 1);
  Value experts = arith::SubIOp::create(builder, loc, entries, one);
  experts = arith::IndexCastOp::create(builder, loc, builder.getI64Type(), experts);
  func::CallOp::create(builder, loc, call.getCallee(), TypeRange(), ValueRange{pointer, experts});
  call.erase();
}

namespace {
struct RecordLoadPass : moe::impl::RecordLoadPassBase<RecordLoadPass> {
  void runOnOperation() override {
    auto function = getOperation().lookupSymbol<func::FuncOp>("moe_record_load");
    if (!function || !function.isExternal())
      return;
    auto type = function.getFunctionType();
    auto buffer = type.getNumInputs() == 1 ? dyn_cast<MemRefType>(type.getInput(0)) : MemRefType();
    if (!buffer || !buffer.getLayout().isIdentity())
      return;
    getOperation().walk([&](func::CallOp call) {
      if (call.getCallee() == function.getName())
        passPointer(call);
    });
    Builder builder(&getContext());
    function.setFunctionType(
        builder.getFunctionType({LLVM::LLVMPointerType::get(&getContext()), builder.getI64Type()}, {}));
    function.setArgAttrsAttr(builder.getArrayAttr({builder.getDictionaryAttr({}), builder.getDictionaryAttr({})}));
  }
};
} // namespace
