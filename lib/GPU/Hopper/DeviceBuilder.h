//===- DeviceBuilder.h - Arithmetic and memory in kernels -------*- C++ -*-===//
//
// Writes what kernels compute in 32-bit integers, the type of positions on the device whatever an index is elsewhere;
// constants are folded on the way.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_DEVICEBUILDER_H
#define MOE_GPU_HOPPER_DEVICEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace mlir::moe::hopper {

/// A location and a builder. Copies with another builder are made where a nested region is built.
struct DeviceBuilder {
  OpBuilder &b;
  Location loc;

  Value constant(int64_t value) const { return arith::ConstantIntOp::create(b, loc, b.getI32Type(), value); }
  /// Also of 64-bit numbers, which positions in whole buffers are.
  Value add(Value x, Value y) const { return b.createOrFold<arith::AddIOp>(loc, x, y); }
  Value add(Value x, int64_t y) const { return add(x, constant(y)); }
  Value sub(Value x, Value y) const { return b.createOrFold<arith::SubIOp>(loc, x, y); }
  Value mul(Value x, Value y) const { return b.createOrFold<arith::MulIOp>(loc, x, y); }
  Value mul(Value x, int64_t y) const { return mul(x, constant(y)); }
  /// Positions are never negative: division is unsigned.
  Value div(Value x, Value y) const { return b.createOrFold<arith::DivUIOp>(loc, x, y); }
  Value div(Value x, int64_t y) const { return div(x, constant(y)); }
  Value rem(Value x, int64_t y) const { return b.createOrFold<arith::RemUIOp>(loc, x, constant(y)); }
  Value min(Value x, Value y) const { return b.createOrFold<arith::MinSIOp>(loc, x, y); }
  Value max(Value x, Value y) const { return b.createOrFold<arith::MaxSIOp>(loc, x, y); }
  Value bitAnd(Value x, int64_t y) const { return b.createOrFold<arith::AndIOp>(loc, x, constant(y)); }
  Value bitOr(Value x, Value y) const { return b.createOrFold<arith::OrIOp>(loc, x, y); }
  Value bitXor(Value x, Value y) const { return b.createOrFold<arith::XOrIOp>(loc, x, y); }
  Value less(Value x, Value y) const {
    return b.createOrFold<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, x, y);
  }
  Value equal(Value x, int64_t y) const {
    return b.createOrFold<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, x, constant(y));
  }
  Value select(Value condition, Value x, Value y) const {
    return b.createOrFold<arith::SelectOp>(loc, condition, x, y);
  }
  Value widen(Value x) const {
    return x.getType().isInteger(64) ? x : b.createOrFold<arith::ExtUIOp>(loc, b.getI64Type(), x);
  }
  Value narrow(Value x) const {
    return x.getType().isInteger(32) ? x : b.createOrFold<arith::TruncIOp>(loc, b.getI32Type(), x);
  }

  /// `base` and `offset` elements of `type`.
  Value address(Value base, Type type, Value offset) const {
    return LLVM::GEPOp::create(b, loc, base.getType(), type, base, ArrayRef<LLVM::GEPArg>{offset});
  }
  Value bytes(Value base, Value offset) const { return address(base, b.getI8Type(), offset); }
  Value bytes(Value base, int64_t offset) const { return bytes(base, constant(offset)); }
  Value load(Type type, Value address, unsigned alignment) const {
    return LLVM::LoadOp::create(b, loc, type, address, alignment);
  }
  void store(Value value, Value address, unsigned alignment) const {
    LLVM::StoreOp::create(b, loc, value, address, alignment);
  }

  void when(Value condition, llvm::function_ref<void(const DeviceBuilder &)> body) const {
    scf::IfOp::create(b, loc, condition, [&](OpBuilder &nested, Location loc) {
      body(DeviceBuilder{nested, loc});
      scf::YieldOp::create(nested, loc);
    });
  }
  using Body = llvm::function_ref<SmallVector<Value>(const DeviceBuilder &, Value, ValueRange)>;
  /// `scf.for` from `from` to `to`; the body gives the next values of `inits`.
  SmallVector<Value> loop(Value from, Value to, Value step, ValueRange inits, Body body) const {
    auto loop = scf::ForOp::create(b, loc, from, to, step, inits,
                                   [&](OpBuilder &nested, Location loc, Value iv, ValueRange values) {
                                     scf::YieldOp::create(nested, loc, body(DeviceBuilder{nested, loc}, iv, values));
                                   });
    return SmallVector<Value>(loop.getResults());
  }
};

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_DEVICEBUILDER_H
