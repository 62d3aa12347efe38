//===- GroupedMatmul.cpp - moe.grouped_matmul as a loop over groups -------===//
//
// Each group's rows are multiplied with its matrix of each bank, K ascending in
// one chain of fused multiply-adds; the epilogue joins the products.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// `out + rows * matrix`, over K ascending; `maps` say how rows, matrix and out
/// are indexed, K is the last dimension.
static Value buildProduct(OpBuilder &builder, Location loc, Value rows,
                          Value matrix, Value out, ArrayRef<AffineMap> maps) {
  SmallVector<utils::IteratorType> iterators(maps[0].getNumDims(),
                                             utils::IteratorType::parallel);
  iterators.back() = utils::IteratorType::reduction;
  return linalg::GenericOp::create(
             builder, loc, out.getType(), ValueRange{rows, matrix}, out, maps,
             iterators,
             [](OpBuilder &b, Location loc, ValueRange x) {
               Value row = buildWiden(b, loc, x[0]),
                     weight = buildWiden(b, loc, x[1]);
               Value sum = math::FmaOp::create(b, loc, row, weight, x[2]);
               linalg::YieldOp::create(b, loc, sum);
             })
      .getResult(0);
}

/// `rows` (`tensor<RxK>`) times one expert's `matrix` (`[N, K]`, or in panels
/// `[panels, K, width]`): `tensor<RxN>`.
static Value buildProductWithMatrix(OpBuilder &builder, Location loc,
                                    Value rows, Value matrix,
                                    OpFoldResult rowCount, int64_t columns) {
  auto type = cast<RankedTensorType>(matrix.getType());
  MLIRContext *context = builder.getContext();
  if (type.getRank() == 2) {
    AffineExpr m, n, k;
    bindDims(context, m, n, k);
    SmallVector<AffineMap> maps = AffineMap::inferFromExprList(
        {ArrayRef<AffineExpr>{m, k}, {n, k}, {m, n}}, context);
    Value zeros = buildZeros(builder, loc, builder.getF32Type(),
                             {rowCount, builder.getIndexAttr(columns)});
    return buildProduct(builder, loc, rows, matrix, zeros, maps);
  }
  // The columns are (panel, lane); those past the last are padding.
  AffineExpr m, p, l, k;
  bindDims(context, m, p, l, k);
  SmallVector<AffineMap> maps = AffineMap::inferFromExprList(
      {ArrayRef<AffineExpr>{m, k}, {p, k, l}, {m, p, l}}, context);
  int64_t panels = type.getDimSize(0), width = type.getDimSize(2);
  Value zeros = buildZeros(
      builder, loc, builder.getF32Type(),
      {rowCount, builder.getIndexAttr(panels), builder.getIndexAttr(width)});
  Value product = buildProduct(builder, loc, rows, matrix, zeros, maps);
  Value flat = tensor::CollapseShapeOp::create(
      builder, loc, product, ArrayRef<ReassociationIndices>{{0}, {1, 2}});
  OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
  return tensor::ExtractSliceOp::create(
      builder, loc, flat, ArrayRef<OpFoldResult>{zero, zero},
      ArrayRef<OpFoldResult>{rowCount, builder.getIndexAttr(columns)},
      ArrayRef<OpFoldResult>{one, one});
}

/// Entry `index` along the first dimension of `tensor`, which has a static
/// shape.
static Value sliceEntry(OpBuilder &builder, Location loc, Value tensor,
                        Value index) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> sizes =
      getAsIndexOpFoldResult(builder.getContext(), type.getShape());
  SmallVector<OpFoldResult> strides(type.getRank(), builder.getIndexAttr(1));
  offsets[0] = index;
  sizes[0] = builder.getIndexAttr(1);
  auto entryType = RankedTensorType::get(type.getShape().drop_front(),
                                         type.getElementType());
  return tensor::ExtractSliceOp::create(builder, loc, entryType, tensor,
                                        offsets, sizes, strides);
}

namespace {
struct LowerGroupedMatmul : public OpConversionPattern<GroupedMatmulOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(GroupedMatmulOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value rows = adaptor.getRows()[0], offsets = adaptor.getOffsets()[0],
          init = adaptor.getInit()[0];
    Value indices = op.getIndices() ? adaptor.getIndices()[0] : Value();
    SmallVector<Value> banks;
    for (ValueRange components : adaptor.getBanks()) {
      if (components.size() != 1)
        return rewriter.notifyMatchFailure(
            op, "banks of several components have no product of their own");
      banks.push_back(components[0]);
    }
    int64_t columns = op.getInit().getType().getDimSize(1);
    OpFoldResult zero = rewriter.getIndexAttr(0),
                 one = rewriter.getIndexAttr(1);
    OpFoldResult inner = tensor::getMixedSize(rewriter, loc, rows, 1);
    SmallVector<OpFoldResult> strides = {one, one};
    Value first = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value step = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value groups =
        arith::ConstantIndexOp::create(rewriter, loc, op.getGroups());

    auto loop = scf::ForOp::create(rewriter, loc, first, groups, step, init);
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointToStart(loop.getBody());
    Value group = loop.getInductionVar(), result = loop.getRegionIterArg(0);
    Value begin = tensor::ExtractOp::create(rewriter, loc, offsets, group);
    Value next = arith::AddIOp::create(rewriter, loc, group, step);
    Value end = tensor::ExtractOp::create(rewriter, loc, offsets, next);
    Value count = arith::SubIOp::create(rewriter, loc, end, begin);

    Value groupRows;
    if (indices) {
      Value groupIndices = tensor::ExtractSliceOp::create(
          rewriter, loc, indices, ArrayRef<OpFoldResult>{begin},
          ArrayRef<OpFoldResult>{count}, ArrayRef<OpFoldResult>{one});
      Value empty = tensor::EmptyOp::create(
          rewriter, loc, ArrayRef<OpFoldResult>{count, inner},
          rewriter.getF32Type());
      groupRows = GatherOp::create(rewriter, loc, empty.getType(), rows,
                                   groupIndices, empty)
                      .getResult();
    } else {
      groupRows = tensor::ExtractSliceOp::create(
          rewriter, loc, rows, ArrayRef<OpFoldResult>{begin, zero},
          ArrayRef<OpFoldResult>{count, inner}, strides);
    }
    SmallVector<Value> products;
    for (Value bank : banks)
      products.push_back(buildProductWithMatrix(
          rewriter, loc, groupRows, sliceEntry(rewriter, loc, bank, group),
          count, columns));
    SmallVector<OpFoldResult> place = {begin, zero},
                              sizes = {count, rewriter.getIndexAttr(columns)};
    Value target = tensor::ExtractSliceOp::create(rewriter, loc, result, place,
                                                  sizes, strides);
    Value joined = buildEpilogue(op, rewriter, products, target);
    Value inserted = tensor::InsertSliceOp::create(
        rewriter, loc, joined, result, place, sizes, strides);
    scf::YieldOp::create(rewriter, loc, inserted);
    rewriter.replaceOp(op, loop.getResults());
    return success();
  }

  /// The epilogue on each element of `products`, written to `target`; without
  /// one, the product itself.
  static Value buildEpilogue(GroupedMatmulOp op,
                             ConversionPatternRewriter &rewriter,
                             ValueRange products, Value target) {
    Location loc = op.getLoc();
    SmallVector<AffineMap> maps(products.size() + 1,
                                rewriter.getMultiDimIdentityMap(2));
    SmallVector<utils::IteratorType> iterators(2,
                                               utils::IteratorType::parallel);
    auto copy = [](OpBuilder &b, Location loc, ValueRange x) {
      linalg::YieldOp::create(b, loc, x[0]);
    };
    if (!op.hasEpilogue())
      return linalg::GenericOp::create(rewriter, loc, target.getType(),
                                       products, target, maps, iterators, copy)
          .getResult(0);
    auto generic = linalg::GenericOp::create(rewriter, loc, target.getType(),
                                             products, target, maps, iterators);
    OpBuilder::InsertionGuard guard(rewriter);
    SmallVector<Type> types(products.size() + 1, rewriter.getF32Type());
    SmallVector<Location> locations(types.size(), loc);
    Block *body =
        rewriter.createBlock(&generic.getRegion(), {}, types, locations);
    Block *epilogue = &op.getEpilogue().front();
    auto yield = cast<YieldOp>(epilogue->getTerminator());
    rewriter.inlineBlockBefore(epilogue, body, body->end(),
                               body->getArguments().drop_back());
    rewriter.setInsertionPointToEnd(body);
    SmallVector<Value> values;
    if (succeeded(rewriter.getRemappedValues(yield.getValues(), values)))
      linalg::YieldOp::create(rewriter, yield.getLoc(), values);
    rewriter.eraseOp(yield);
    return generic.getResult(0);
  }
};
} // namespace

void moe::populateGroupedMatmulPatterns(const TypeConverter &converter,
                                        RewritePatternSet &patterns) {
  patterns.add<LowerGroupedMatmul>(converter, patterns.getContext());
}
