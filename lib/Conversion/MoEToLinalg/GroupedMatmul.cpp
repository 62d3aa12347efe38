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
/// One group in a loop over groups: its rows of the result, to be written.
struct Group {
  Value index, begin, count, target;
};
} // namespace

/// Replaces `op` by a loop over groups that writes each group's rows of `init`,
/// `columns` wide: `body` gives them.
static void buildOverGroups(RewriterBase &rewriter, Operation *op,
                            Value offsets, int64_t groups, Value init,
                            int64_t columns,
                            llvm::function_ref<Value(const Group &)> body) {
  Location loc = op->getLoc();
  Value first = arith::ConstantIndexOp::create(rewriter, loc, 0);
  Value step = arith::ConstantIndexOp::create(rewriter, loc, 1);
  Value count = arith::ConstantIndexOp::create(rewriter, loc, groups);
  auto loop = scf::ForOp::create(rewriter, loc, first, count, step, init);
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPointToStart(loop.getBody());
  Group group;
  group.index = loop.getInductionVar();
  Value result = loop.getRegionIterArg(0);
  group.begin = tensor::ExtractOp::create(rewriter, loc, offsets, group.index);
  Value next = arith::AddIOp::create(rewriter, loc, group.index, step);
  Value end = tensor::ExtractOp::create(rewriter, loc, offsets, next);
  group.count = arith::SubIOp::create(rewriter, loc, end, group.begin);
  OpFoldResult zero = rewriter.getIndexAttr(0), one = rewriter.getIndexAttr(1);
  SmallVector<OpFoldResult> place = {group.begin, zero}, strides = {one, one};
  SmallVector<OpFoldResult> sizes = {group.count,
                                     rewriter.getIndexAttr(columns)};
  group.target = tensor::ExtractSliceOp::create(rewriter, loc, result, place,
                                                sizes, strides);
  Value written = tensor::InsertSliceOp::create(
      rewriter, loc, body(group), result, place, sizes, strides);
  scf::YieldOp::create(rewriter, loc, written);
  rewriter.replaceOp(op, loop.getResults());
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
    auto rowsOf = [&](const Group &group) -> Value {
      if (!indices)
        return tensor::ExtractSliceOp::create(
            rewriter, loc, rows, ArrayRef<OpFoldResult>{group.begin, zero},
            ArrayRef<OpFoldResult>{group.count, inner},
            ArrayRef<OpFoldResult>{one, one});
      Value groupIndices = tensor::ExtractSliceOp::create(
          rewriter, loc, indices, ArrayRef<OpFoldResult>{group.begin},
          ArrayRef<OpFoldResult>{group.count}, ArrayRef<OpFoldResult>{one});
      Value empty = tensor::EmptyOp::create(
          rewriter, loc, ArrayRef<OpFoldResult>{group.count, inner},
          rewriter.getF32Type());
      return GatherOp::create(rewriter, loc, empty.getType(), rows,
                              groupIndices, empty)
          .getResult();
    };
    buildOverGroups(rewriter, op, offsets, op.getGroups(), init, columns,
                    [&](const Group &group) {
      Value groupRows = rowsOf(group);
      SmallVector<Value> products, vectors;
      for (Value bank : banks)
        products.push_back(buildProductWithMatrix(
            rewriter, loc, groupRows,
            sliceEntry(rewriter, loc, bank, group.index), group.count,
            columns));
      for (ValueRange components : adaptor.getVectors())
        vectors.push_back(
            sliceEntry(rewriter, loc, components[0], group.index));
      return buildEpilogue(op, rewriter, products, vectors, group.target);
    });
    return success();
  }

  /// The epilogue on each element of `products` and `vectors`, one element of
  /// which belongs to a column, written to `target`; without one, the product
  /// itself.
  static Value buildEpilogue(GroupedMatmulOp op,
                             ConversionPatternRewriter &rewriter,
                             ValueRange products, ValueRange vectors,
                             Value target) {
    Location loc = op.getLoc();
    SmallVector<AffineMap> maps(products.size() + vectors.size() + 1,
                                rewriter.getMultiDimIdentityMap(2));
    for (AffineMap &map :
         MutableArrayRef(maps).slice(products.size(), vectors.size()))
      map = map.dropResult(0);
    SmallVector<utils::IteratorType> iterators(2,
                                               utils::IteratorType::parallel);
    auto copy = [](OpBuilder &b, Location loc, ValueRange x) {
      linalg::YieldOp::create(b, loc, x[0]);
    };
    if (!op.hasEpilogue())
      return linalg::GenericOp::create(rewriter, loc, target.getType(),
                                       products, target, maps, iterators, copy)
          .getResult(0);
    SmallVector<Value> inputs(products);
    llvm::append_range(inputs, vectors);
    auto generic = linalg::GenericOp::create(rewriter, loc, target.getType(),
                                             inputs, target, maps, iterators);
    OpBuilder::InsertionGuard guard(rewriter);
    SmallVector<Type> types = llvm::map_to_vector(
        inputs, [](Value input) { return getElementTypeOrSelf(input); });
    types.push_back(rewriter.getF32Type());
    SmallVector<Location> locations(types.size(), loc);
    Block *body =
        rewriter.createBlock(&generic.getRegion(), {}, types, locations);
    SmallVector<Value> elements;
    for (Value element : body->getArguments().drop_back())
      elements.push_back(buildWiden(rewriter, loc, element));
    Block *epilogue = &op.getEpilogue().front();
    auto yield = cast<YieldOp>(epilogue->getTerminator());
    rewriter.inlineBlockBefore(epilogue, body, body->end(), elements);
    rewriter.setInsertionPointToEnd(body);
    SmallVector<Value> values;
    if (succeeded(rewriter.getRemappedValues(yield.getValues(), values)))
      linalg::YieldOp::create(rewriter, yield.getLoc(), values);
    rewriter.eraseOp(yield);
    return generic.getResult(0);
  }
};
} // namespace

namespace {
/// Each group's vector is written to each of its rows.
struct LowerFillGroups : public OpConversionPattern<FillGroupsOp> {
  using OpConversionPattern::OpConversionPattern;

  LogicalResult
  matchAndRewrite(FillGroupsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Value vectors = adaptor.getVectors()[0], init = adaptor.getInit()[0];
    auto type = cast<RankedTensorType>(vectors.getType());
    AffineMap element = rewriter.getMultiDimIdentityMap(2);
    AffineMap maps[] = {element.dropResult(0), element};
    buildOverGroups(rewriter, op, adaptor.getOffsets()[0], type.getDimSize(0),
                    init, type.getDimSize(1), [&](const Group &group) {
      Value vector = sliceEntry(rewriter, loc, vectors, group.index);
      return linalg::GenericOp::create(
                 rewriter, loc, group.target.getType(), vector, group.target,
                 maps,
                 SmallVector<utils::IteratorType>(
                     2, utils::IteratorType::parallel),
                 [](OpBuilder &b, Location loc, ValueRange x) {
                   Value wide = buildWiden(b, loc, x[0]);
                   linalg::YieldOp::create(b, loc, wide);
                 })
          .getResult(0);
    });
    return success();
  }
};
} // namespace

void moe::populateGroupedMatmulPatterns(const TypeConverter &converter,
                                        RewritePatternSet &patterns) {
  patterns.add<LowerGroupedMatmul, LowerFillGroups>(converter,
                                                patterns.getContext());
}
