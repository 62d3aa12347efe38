//===- Elements.cpp - Tensors computed element by element -----------------===//
//
// The generic operation around a body, the search for a row's group.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::moe;

Value moe::buildElements(OpBuilder &builder, Location loc, Value init, ElementBody body) {
  int64_t rank = cast<RankedTensorType>(init.getType()).getRank();
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  AffineMap identity = builder.getMultiDimIdentityMap(rank);
  return linalg::GenericOp::create(builder, loc, TypeRange{init.getType()}, ValueRange{}, ValueRange{init}, identity,
                                   iterators,
                                   [&](OpBuilder &b, Location loc, ValueRange x) {
                                     SmallVector<Value> indices;
                                     for (int64_t d = 0; d < rank; ++d)
                                       indices.push_back(linalg::IndexOp::create(b, loc, d));
                                     Value element = body(b, indices, x[0]);
                                     linalg::YieldOp::create(b, loc, element);
                                   })
      .getResult(0);
}

Value moe::buildIndexAt(OpBuilder &builder, Location loc, Value tensor, ValueRange indices) {
  Value value = tensor::ExtractOp::create(builder, loc, tensor, indices);
  if (value.getType().isIndex())
    return value;
  return arith::IndexCastOp::create(builder, loc, builder.getIndexType(), value);
}

Value moe::buildChain(OpBuilder &builder, Location loc, Value count, Value init, LoopBody body) {
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0), one = arith::ConstantIndexOp::create(builder, loc, 1);
  return scf::ForOp::create(builder, loc, zero, count, one, init,
                            [&](OpBuilder &b, Location loc, Value iv, ValueRange carried) {
                              scf::YieldOp::create(b, loc, body(b, iv, carried[0]));
                            })
      .getResult(0);
}

Value moe::buildGroupOfRow(OpBuilder &builder, Location loc, Value offsets, int64_t groups, Value row) {
  auto constant = [&](OpBuilder &b, int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
  // Invariant: the number of groups that end at or before the row lies in [low, high].
  SmallVector<Value> range = {constant(builder, 0), constant(builder, groups)};
  auto search = scf::ForOp::create(
      builder, loc, constant(builder, 0), constant(builder, llvm::Log2_64_Ceil(groups + 1)), constant(builder, 1),
      range, [&](OpBuilder &b, Location loc, Value, ValueRange state) {
        Value low = state[0], high = state[1], one = constant(b, 1);
        Value sum = arith::AddIOp::create(b, loc, low, high);
        Value middle = arith::DivUIOp::create(b, loc, sum, constant(b, 2));
        // Where the search has ended already, some group is looked at without effect.
        Value probe = arith::MinSIOp::create(b, loc, middle, constant(b, groups - 1));
        Value next = arith::AddIOp::create(b, loc, probe, one);
        Value end = tensor::ExtractOp::create(b, loc, offsets, next);
        Value open = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, low, high);
        Value before = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, end, row);
        Value up = arith::AndIOp::create(b, loc, open, before);
        Value newLow = arith::SelectOp::create(b, loc, up, next, low);
        Value newHigh = arith::SelectOp::create(b, loc, before, high, middle);
        newHigh = arith::SelectOp::create(b, loc, open, newHigh, high);
        scf::YieldOp::create(b, loc, ValueRange{newLow, newHigh});
      });
  return search.getResult(0);
}
