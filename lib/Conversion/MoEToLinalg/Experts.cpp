//===- Experts.cpp - moe.experts as a loop over experts -------------------===//
//
// Sorts the pairs, gathers all rows, runs each expert's body on its rows and
// slices, combines.
//
//===----------------------------------------------------------------------===//

#include "moe/Conversion/MoEToLinalg/MoEToLinalg.h"
#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/ValueBoundsOpInterface.h"

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

/// Whether the body certainly yields as many rows as it is given.
static bool keepsRowCount(Region &body) {
  auto yield = cast<YieldOp>(body.front().getTerminator());
  FailureOr<bool> equal = ValueBoundsConstraintSet::areEqual(
      {yield.getValues()[0], 0}, {body.getArgument(0), 0});
  return succeeded(equal) && *equal;
}

namespace {
/// What all experts read: their rows, one after the other, and where each
/// expert's begin; with several classes, each expert's class and its number in
/// the class. For each body, whether it keeps the number of rows.
struct Sources {
  SmallVector<Value> rows;
  SmallVector<bool> keepsRows;
  Value offsets, classes, numbers;
  Value count; ///< of all rows
};

/// One expert, its number in its class, and its rows.
struct ExpertRows {
  Value expert, number, begin, count;
};

struct LowerExperts : public OpConversionPattern<ExpertsOp> {
  LowerExperts(const TypeConverter &converter, MLIRContext *context,
               bool recordLoad)
      : OpConversionPattern(converter, context), recordLoad(recordLoad) {}

  LogicalResult
  matchAndRewrite(ExpertsOp op, OneToNOpAdaptor adaptor,
                  ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    Sources sources;
    // While bodies still use their own arguments.
    for (Region &body : op.getBodies())
      sources.keepsRows.push_back(keepsRowCount(body));
    for (Region &body : op.getBodies())
      if (failed(rewriter.convertRegionTypes(&body, *getTypeConverter())))
        return rewriter.notifyMatchFailure(
            op, "the types of a body have no conversion");
    int64_t experts = op.getRouting().getType().getExperts();
    Plan plan =
        buildPlan(rewriter, loc, adaptor.getRouting()[0], experts, recordLoad);
    OpFoldResult pairs = tensor::getMixedSize(rewriter, loc, plan.tokens, 0);
    for (ValueRange rows : adaptor.getRows()) {
      OpFoldResult width = tensor::getMixedSize(rewriter, loc, rows[0], 1);
      Value init = tensor::EmptyOp::create(
          rewriter, loc, ArrayRef<OpFoldResult>{pairs, width},
          rewriter.getF32Type());
      sources.rows.push_back(GatherOp::create(rewriter, loc, init.getType(),
                                              rows[0], plan.tokens, init)
                                 .getResult());
    }
    if (op.getWithWeights())
      sources.rows.push_back(buildRowWeights(rewriter, loc, plan.slots,
                                             adaptor.getRouting()[1], pairs));
    sources.offsets = plan.offsets;
    sources.count = getValueOrCreateConstantIndexOp(rewriter, loc, pairs);
    if (op.getClasses())
      buildClasses(op, rewriter, sources);

    // The output rows and the states are carried through the experts.
    auto resultType = op.getResult().getType();
    int64_t width = resultType.getDimSize(1);
    if (op.getCombine().keepsSlotsApart())
      width /= op.getRouting().getType().getSlots();
    SmallVector<Value> carried = {tensor::EmptyOp::create(
        rewriter, loc,
        ArrayRef<OpFoldResult>{pairs, rewriter.getIndexAttr(width)},
        rewriter.getF32Type())};
    for (ValueRange state : adaptor.getState())
      llvm::append_range(carried, state);
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value count = arith::ConstantIndexOp::create(rewriter, loc, experts);
    auto loop = scf::ForOp::create(rewriter, loc, zero, count, one, carried);
    {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToStart(loop.getBody());
      buildExpert(op, adaptor, rewriter, loop, sources);
    }

    // Each token sums what its experts gave, from zero.
    OpFoldResult tokens =
        tensor::getMixedSize(rewriter, loc, adaptor.getRows()[0][0], 0);
    if (!resultType.isDynamicDim(0))
      tokens = rewriter.getIndexAttr(resultType.getDimSize(0));
    Value sum = buildCombination(rewriter, loc, loop.getResult(0), plan.slots,
                                 adaptor.getRouting()[1], op.getCombine(),
                                 tokens, resultType);
    SmallVector<Value> results = {sum};
    llvm::append_range(results, loop.getResults().drop_front());
    rewriter.replaceOp(op, results);
    return success();
  }

  /// Constants that tell each expert's class and its number in the class.
  static void buildClasses(ExpertsOp op, OpBuilder &builder, Sources &sources) {
    int64_t experts = op.getRouting().getType().getExperts();
    SmallVector<int32_t> numbers, counts(op.getBodies().size(), 0);
    for (int64_t expert = 0; expert < experts; ++expert)
      numbers.push_back(counts[op.getClassOf(expert)]++);
    auto table = [&](ArrayRef<int32_t> values) -> Value {
      auto type = RankedTensorType::get({experts}, builder.getI32Type());
      return arith::ConstantOp::create(builder, op.getLoc(),
                                       DenseIntElementsAttr::get(type, values));
    };
    sources.classes = table(*op.getClasses());
    sources.numbers = table(numbers);
  }

  /// One turn of the loop over experts: nothing for an expert without rows,
  /// else its class's body.
  static void buildExpert(ExpertsOp op, OneToNOpAdaptor adaptor,
                          ConversionPatternRewriter &rewriter, scf::ForOp loop,
                          const Sources &sources) {
    Location loc = op.getLoc();
    Value expert = loop.getInductionVar();
    ValueRange carried = loop.getRegionIterArgs();
    Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
    Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
    Value next = arith::AddIOp::create(rewriter, loc, expert, one);
    Value begin =
        tensor::ExtractOp::create(rewriter, loc, sources.offsets, expert);
    Value end = tensor::ExtractOp::create(rewriter, loc, sources.offsets, next);
    Value count = arith::SubIOp::create(rewriter, loc, end, begin);
    // Never less than there are; but this bound is known without a look at the
    // plan.
    count = arith::MinSIOp::create(rewriter, loc, count, sources.count);
    Value busy = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::sgt,
                                       count, zero);
    auto guarded = scf::IfOp::create(rewriter, loc, carried.getTypes(), busy,
                                     /*withElseRegion=*/true);
    scf::YieldOp::create(rewriter, loc, guarded.getResults());
    rewriter.setInsertionPointToEnd(guarded.elseBlock());
    scf::YieldOp::create(rewriter, loc, carried);
    rewriter.setInsertionPointToEnd(guarded.thenBlock());
    ExpertRows own{expert, expert, begin, count};
    if (!sources.classes) {
      scf::YieldOp::create(
          rewriter, loc,
          buildBody(op, 0, adaptor, rewriter, own, sources, carried));
      return;
    }
    auto lookUp = [&](Value table) -> Value {
      Value entry = tensor::ExtractOp::create(rewriter, loc, table, expert);
      return arith::IndexCastOp::create(rewriter, loc, rewriter.getIndexType(),
                                        entry);
    };
    Value kind = lookUp(sources.classes);
    own.number = lookUp(sources.numbers);
    // The last class is the default: the verifier has seen to it that there is
    // no other.
    SmallVector<int64_t> cases =
        llvm::to_vector(llvm::seq<int64_t>(op.getBodies().size() - 1));
    auto choice = scf::IndexSwitchOp::create(rewriter, loc, carried.getTypes(),
                                             kind, cases, cases.size());
    scf::YieldOp::create(rewriter, loc, choice.getResults());
    for (unsigned index = 0; index < op.getBodies().size(); ++index) {
      Region &region = index < cases.size() ? choice.getCaseRegions()[index]
                                            : choice.getDefaultRegion();
      rewriter.createBlock(&region);
      scf::YieldOp::create(
          rewriter, loc,
          buildBody(op, index, adaptor, rewriter, own, sources, carried));
    }
  }

  /// Inlines the body of a class at the end of the current block, on the
  /// slices of an expert; gives the carried tensors updated.
  static SmallVector<Value> buildBody(ExpertsOp op, unsigned bodyClass,
                                      OneToNOpAdaptor adaptor,
                                      ConversionPatternRewriter &rewriter,
                                      const ExpertRows &own,
                                      const Sources &sources,
                                      ValueRange carried) {
    Location loc = op.getLoc();
    Region &body = op.getBodies()[bodyClass];
    OpFoldResult zero = rewriter.getIndexAttr(0),
                 one = rewriter.getIndexAttr(1);
    SmallVector<OpFoldResult> place = {own.begin, zero}, strides = {one, one};
    SmallVector<Value> arguments;
    for (Value rows : sources.rows) {
      SmallVector<OpFoldResult> sizes =
          tensor::getMixedSizes(rewriter, loc, rows);
      sizes[0] = own.count;
      arguments.push_back(tensor::ExtractSliceOp::create(
          rewriter, loc, rows, ArrayRef(place).take_front(sizes.size()), sizes,
          ArrayRef(strides).take_front(sizes.size())));
    }
    for (unsigned bank : op.getBanksOf(bodyClass)) {
      Value entry = op.getBankClass(bank) < 0 ? own.expert : own.number;
      for (Value component : adaptor.getBanks()[bank])
        arguments.push_back(extractEntry(rewriter, loc, component, entry));
    }
    for (ValueRange shared : adaptor.getShared())
      llvm::append_range(arguments, shared);
    for (Value state : carried.drop_front())
      arguments.push_back(extractEntry(rewriter, loc, state, own.expert));

    Block *block = rewriter.getInsertionBlock();
    auto yield = cast<YieldOp>(body.front().getTerminator());
    rewriter.inlineBlockBefore(&body.front(), block, block->end(), arguments);
    rewriter.setInsertionPointToEnd(block);
    SmallVector<Value> yielded;
    // A yielded tensor keeps its type, so it always has a value.
    (void)rewriter.getRemappedValues(yield.getValues(), yielded);
    rewriter.eraseOp(yield);

    Value rows = yielded[0];
    SmallVector<OpFoldResult> sizes = {
        own.count, tensor::getMixedSize(rewriter, loc, carried[0], 1)};
    // A body that may yield another number of rows does not reach beyond its
    // own. The slice costs a copy.
    if (!sources.keepsRows[bodyClass]) {
      Value given = rewriter.createOrFold<tensor::DimOp>(loc, rows, 0);
      sizes[0] = rewriter.createOrFold<arith::MinSIOp>(loc, given, own.count);
      rows = tensor::ExtractSliceOp::create(
          rewriter, loc, rows, ArrayRef<OpFoldResult>{zero, zero}, sizes,
          strides);
    }
    SmallVector<Value> results = {tensor::InsertSliceOp::create(
        rewriter, loc, rows, carried[0], place, sizes, strides)};
    for (auto [value, state] :
         llvm::zip(ArrayRef(yielded).drop_front(), carried.drop_front()))
      results.push_back(insertEntry(rewriter, loc, value, state, own.expert));
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
