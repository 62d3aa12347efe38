//===- Experts.cpp - moe.experts as a loop over experts -------------------===//
//
// Sorts the pairs, gathers all rows, runs each expert's body on its rows and
// slices, combines.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::moe;

/// Where entry `index` along the first dimension of a tensor lies.
struct Entry {
  Entry(OpBuilder &builder, Location loc, Value tensor, Value index)
      : offsets(cast<RankedTensorType>(tensor.getType()).getRank(),
                builder.getIndexAttr(0)),
        sizes(tensor::getMixedSizes(builder, loc, tensor)),
        strides(offsets.size(), builder.getIndexAttr(1)) {
    offsets[0] = index;
    sizes[0] = builder.getIndexAttr(1);
  }
  SmallVector<OpFoldResult> offsets, sizes, strides;
};

static Value extractEntry(OpBuilder &builder, Location loc, Value tensor,
                          Value index) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Entry entry(builder, loc, tensor, index);
  return tensor::ExtractSliceOp::create(
      builder, loc,
      RankedTensorType::get(type.getShape().drop_front(),
                            type.getElementType()),
      tensor, entry.offsets, entry.sizes, entry.strides);
}

static Value insertEntry(OpBuilder &builder, Location loc, Value value,
                         Value tensor, Value index) {
  Entry entry(builder, loc, tensor, index);
  return tensor::InsertSliceOp::create(
      builder, loc, value, tensor, entry.offsets, entry.sizes, entry.strides);
}

namespace {
struct LowerExperts : public OpConversionPattern<ExpertsOp> {
  LowerExperts(const TypeConverter &converter, MLIRContext *context,
               bool recordLoad)
      : OpConversionPattern(converter, context), recordLoad(recordLoad) {}

  LogicalResult
  matchAndRewrite(ExpertsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    for (Region &body : op.getBodies())
      if (failed(rewriter.convertRegionTypes(&body, *getTypeConverter())))
        return rewriter.notifyMatchFailure(
            op, "the types of a body have no conversion");
    Value rows = adaptor.getRows()[0];
    int64_t experts = op.getRouting().getType().getExperts();
    auto resultType = op.getResult().getType();
    OpFoldResult width = rewriter.getIndexAttr(resultType.getDimSize(1));

    Plan plan =
        buildPlan(rewriter, loc, adaptor.getRouting()[0], experts, recordLoad);
    OpFoldResult pairs = tensor::getMixedSize(rewriter, loc, plan.tokens, 0);
    Value gatherInit = tensor::EmptyOp::create(
        rewriter, loc,
        ArrayRef<OpFoldResult>{pairs,
                               tensor::getMixedSize(rewriter, loc, rows, 1)},
        rewriter.getF32Type());
    Value gathered = GatherOp::create(rewriter, loc, gatherInit.getType(), rows,
                                      plan.tokens, gatherInit)
                         .getResult();

    // The output rows and the states are carried through the experts.
    SmallVector<Value> carried = {tensor::EmptyOp::create(
        rewriter, loc, ArrayRef<OpFoldResult>{pairs, width},
        rewriter.getF32Type())};
    for (ValueRange state : adaptor.getState())
      llvm::append_range(carried, state);
    Value classes;
    if (auto list = op.getClasses())
      classes = arith::ConstantOp::create(
          rewriter, loc,
          DenseIntElementsAttr::get(
              RankedTensorType::get({experts}, rewriter.getI32Type()), *list));
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value count = arith::ConstantIndexOp::create(rewriter, loc, experts);
    auto loop = scf::ForOp::create(rewriter, loc, zero, count, one, carried);
    {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToStart(loop.getBody());
      buildExpert(op, adaptor, rewriter, loop, plan.offsets, gathered, classes);
    }

    // Each token sums what its experts gave, from zero.
    SmallVector<OpFoldResult> sizes = {
        tensor::getMixedSize(rewriter, loc, rows, 0), width};
    if (!resultType.isDynamicDim(0))
      sizes[0] = rewriter.getIndexAttr(resultType.getDimSize(0));
    Value sumInit = buildZeros(rewriter, loc, rewriter.getF32Type(), sizes);
    Value sum =
        CombineOp::create(rewriter, loc, sumInit.getType(), loop.getResult(0),
                          plan.slots, adaptor.getRouting()[1], op.getCombine(),
                          sumInit)
            .getResult();
    if (sum.getType() != resultType)
      sum = tensor::CastOp::create(rewriter, loc, resultType, sum);
    SmallVector<Value> results = {sum};
    llvm::append_range(results, loop.getResults().drop_front());
    rewriter.replaceOp(op, results);
    return success();
  }

  /// One turn of the loop over experts: nothing for an expert without rows,
  /// else its class's body.
  static void buildExpert(ExpertsOp op, OneToNOpAdaptor adaptor,
                          ConversionPatternRewriter &rewriter, scf::ForOp loop,
                          Value offsets, Value gathered, Value classes) {
    Location loc = op.getLoc();
    Value expert = loop.getInductionVar();
    ValueRange carried = loop.getRegionIterArgs();
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value next = arith::AddIOp::create(rewriter, loc, expert, one);
    Value begin = tensor::ExtractOp::create(rewriter, loc, offsets, expert);
    Value end = tensor::ExtractOp::create(rewriter, loc, offsets, next);
    Value count = arith::SubIOp::create(rewriter, loc, end, begin);
    Value busy = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::sgt,
                                       count, zero);
    auto guarded = scf::IfOp::create(rewriter, loc, carried.getTypes(), busy,
                                     /*withElseRegion=*/true);
    scf::YieldOp::create(rewriter, loc, guarded.getResults());
    rewriter.setInsertionPointToEnd(guarded.elseBlock());
    scf::YieldOp::create(rewriter, loc, carried);
    rewriter.setInsertionPointToEnd(guarded.thenBlock());
    if (!classes) {
      scf::YieldOp::create(rewriter, loc,
                           buildBody(op, op.getBodies()[0], adaptor, rewriter,
                                     expert, begin, count, gathered, carried));
      return;
    }
    Value kind = tensor::ExtractOp::create(rewriter, loc, classes, expert);
    kind = arith::IndexCastOp::create(rewriter, loc, rewriter.getIndexType(),
                                      kind);
    // The last class is the default: the verifier has seen to it that there is
    // no other.
    SmallVector<int64_t> cases =
        llvm::to_vector(llvm::seq<int64_t>(op.getBodies().size() - 1));
    auto choice = scf::IndexSwitchOp::create(rewriter, loc, carried.getTypes(),
                                             kind, cases, cases.size());
    scf::YieldOp::create(rewriter, loc, choice.getResults());
    for (auto [index, body] : llvm::enumerate(op.getBodies())) {
      Region &region = index < cases.size() ? choice.getCaseRegions()[index]
                                            : choice.getDefaultRegion();
      rewriter.createBlock(&region);
      scf::YieldOp::create(rewriter, loc,
                           buildBody(op, body, adaptor, rewriter, expert, begin,
                                     count, gathered, carried));
    }
  }

  /// Inlines `body` at the end of the current block, on the slices of `expert`;
  /// gives the carried tensors updated.
  static SmallVector<Value> buildBody(ExpertsOp op, Region &body,
                                      OneToNOpAdaptor adaptor,
                                      ConversionPatternRewriter &rewriter,
                                      Value expert, Value begin, Value count,
                                      Value gathered, ValueRange carried) {
    Location loc = op.getLoc();
    OpFoldResult zero = rewriter.getIndexAttr(0),
                 one = rewriter.getIndexAttr(1);
    SmallVector<OpFoldResult> place = {begin, zero}, strides = {one, one};
    SmallVector<OpFoldResult> rowSizes = {
        count, tensor::getMixedSize(rewriter, loc, gathered, 1)};
    SmallVector<Value> arguments = {tensor::ExtractSliceOp::create(
        rewriter, loc, gathered, place, rowSizes, strides)};
    for (ValueRange components : adaptor.getBanks())
      for (Value component : components)
        arguments.push_back(extractEntry(rewriter, loc, component, expert));
    for (ValueRange shared : adaptor.getShared())
      llvm::append_range(arguments, shared);
    for (Value state : carried.drop_front())
      arguments.push_back(extractEntry(rewriter, loc, state, expert));

    Block *block = rewriter.getInsertionBlock();
    auto yield = cast<YieldOp>(body.front().getTerminator());
    rewriter.inlineBlockBefore(&body.front(), block, block->end(), arguments);
    rewriter.setInsertionPointToEnd(block);
    SmallVector<Value> yielded;
    // A yielded tensor keeps its type, so it always has a value.
    (void)rewriter.getRemappedValues(yield.getValues(), yielded);
    rewriter.eraseOp(yield);

    SmallVector<OpFoldResult> sizes = {
        count, tensor::getMixedSize(rewriter, loc, carried[0], 1)};
    SmallVector<Value> results = {tensor::InsertSliceOp::create(
        rewriter, loc, yielded[0], carried[0], place, sizes, strides)};
    for (auto [value, state] :
         llvm::zip(ArrayRef(yielded).drop_front(), carried.drop_front()))
      results.push_back(insertEntry(rewriter, loc, value, state, expert));
    return results;
  }

  bool recordLoad;
};
} // namespace

void moe::populateExpertsPatterns(const TypeConverter &converter,
                                  RewritePatternSet &patterns,
                                  bool recordLoad) {
  patterns.add<LowerExperts>(converter, patterns.getContext(), recordLoad);
}
