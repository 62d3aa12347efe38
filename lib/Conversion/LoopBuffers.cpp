//===- LoopBuffers.cpp - Buffers of parallel loops ------------------------===//
//
// Finds outermost loops; computes and allocates the bytes of buffers.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/LoopBuffers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace mlir::moe;

SmallVector<scf::ParallelOp> moe::getOutermostLoops(Operation *op) {
  SmallVector<scf::ParallelOp> loops;
  op->walk<WalkOrder::PreOrder>([&](scf::ParallelOp loop) {
    loops.push_back(loop);
    return WalkResult::skip();
  });
  return loops;
}

int64_t moe::getElementBytes(MemRefType type) {
  Type element = type.getElementType();
  int64_t bits = element.isIndex() ? 64 : isa<IntegerType, FloatType>(element) ? element.getIntOrFloatBitWidth() : 0;
  return llvm::divideCeil(bits, 8);
}

Value moe::buildBufferBytes(OpBuilder &builder, Location loc, MemRefType type, ValueRange extents, int64_t alignment) {
  int64_t fixed = getElementBytes(type);
  for (int64_t extent : type.getShape())
    if (!ShapedType::isDynamic(extent))
      fixed *= extent;
  auto index = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(builder, loc, value); };
  Value bytes = index(fixed);
  for (Value extent : extents)
    bytes = builder.createOrFold<arith::MulIOp>(loc, bytes, extent);
  bytes = builder.createOrFold<arith::AddIOp>(loc, bytes, index(alignment - 1));
  return builder.createOrFold<arith::AndIOp>(loc, bytes, index(-alignment));
}

Value moe::buildByteBuffer(OpBuilder &builder, Location loc, Value bytes, int64_t alignment) {
  return memref::AllocOp::create(builder, loc, MemRefType::get({ShapedType::kDynamic}, builder.getI8Type()),
                                 ValueRange(bytes), builder.getI64IntegerAttr(alignment));
}
