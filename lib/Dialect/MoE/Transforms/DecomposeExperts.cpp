//===- DecomposeExperts.cpp - moe-decompose-experts -----------------------===//
//
// Runs the program of one expert on the rows of all experts at once: plan, gather, the body's operations over all rows,
// combine.
//
//===----------------------------------------------------------------------===//

#include "ExpertBody.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/Transforms/Missed.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DECOMPOSEEXPERTSPASS
#include "moe/Dialect/MoE/Transforms/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;

static constexpr llvm::StringLiteral kPass = "moe-decompose-experts";

namespace {
/// The rows of one class of experts, one after the other, and how they are divided.
struct ClassRows {
  OpFoldResult count;
  /// Where they begin among all rows, unless there is one class.
  Value begin;
  /// One tensor per argument of the body: rows and, where the body gets them, weights.
  SmallVector<Value> arguments;
  /// Groups of all experts, those of other classes being empty, and of the experts of the class alone.
  Value allOffsets, ownOffsets;
};

/// Writes the body of one class, for all rows of the class, before `experts`.
class BodyLifter {
public:
  BodyLifter(RewriterBase &rewriter, ExpertsOp experts, unsigned bodyClass, const ExpertBody &body,
             const ClassRows &rows)
      : rewriter(rewriter), experts(experts), block(experts.getBodies()[bodyClass].front()), body(body), rows(rows) {}

  /// Gives what the experts of the class give.
  Value run();

private:
  void lift(Operation *op);
  void liftProduct(linalg::LinalgOp op);
  void liftLinalg(linalg::LinalgOp op);
  Value dim(tensor::DimOp op);
  Value bankOf(Value weight);
  Value offsetsOf(Value weight);
  Type liftedType(Type type);

  RewriterBase &rewriter;
  ExpertsOp experts;
  Block &block;
  const ExpertBody &body;
  const ClassRows &rows;
  IRMapping mapping;
};
} // namespace

/// The type of all rows where `type` is that of one expert's rows.
Type BodyLifter::liftedType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = cast<RankedTensorType>(rows.arguments[0].getType()).getDimSize(0);
  return tensor.clone(shape);
}

/// A bank that holds nothing but the component `weight` is a part of.
Value BodyLifter::bankOf(Value weight) {
  BankComponent which = body.componentOf(weight);
  Value bank = experts.getBanks()[which.bank];
  if (cast<BankType>(bank.getType()).getComponents().size() == 1)
    return bank;
  auto parts = BankPartsOp::create(rewriter, weight.getLoc(), bank);
  return MakeBankOp::create(rewriter, weight.getLoc(), parts.getComponents()[which.component]).getBank();
}

/// The groups of rows that belong to the matrices or vectors of that bank.
Value BodyLifter::offsetsOf(Value weight) {
  return experts.getBankClass(body.componentOf(weight).bank) < 0 ? rows.allOffsets : rows.ownOffsets;
}

/// An extent of rows other than their number, or of a weight.
Value BodyLifter::dim(tensor::DimOp op) {
  int64_t index = *op.getConstantIndex();
  auto type = cast<RankedTensorType>(op.getSource().getType());
  if (!type.isDynamicDim(index))
    return arith::ConstantIndexOp::create(rewriter, op.getLoc(), type.getDimSize(index));
  return tensor::DimOp::create(rewriter, op.getLoc(), mapping.lookup(op.getSource()), index);
}

void BodyLifter::liftProduct(linalg::LinalgOp op) {
  Contraction contraction = *matchContraction(op);
  // The zeros that the body starts from are what a grouped product starts from by itself.
  Value zeros = contraction.init->get(), init = mapping.lookup(zeros);
  if (auto fill = zeros.getDefiningOp<linalg::FillOp>())
    init = mapping.lookup(fill.output());
  auto product = GroupedMatmulOp::create(rewriter, op.getLoc(), init.getType(),
                                         mapping.lookup(contraction.rows->get()), Value(),
                                         bankOf(contraction.weight->get()), offsetsOf(contraction.weight->get()), init);
  mapping.map(op->getResult(0), product.getResult());
}

/// Makes `argument` an f32, where all that reads it widens it.
static void widenArgument(RewriterBase &rewriter, BlockArgument argument) {
  if (argument.getType().isF32())
    return;
  argument.setType(rewriter.getF32Type());
  for (Operation *user : llvm::make_early_inc_range(argument.getUsers()))
    rewriter.replaceOp(user, argument);
}

void BodyLifter::liftLinalg(linalg::LinalgOp op) {
  Location loc = op.getLoc();
  auto isWeight = [&](OpOperand &operand) { return body.kindOf(operand.get()) == BodyValue::Weight; };
  bool readsVectors = llvm::any_of(op->getOpOperands(), isWeight);
  // Where each expert has a vector of its own, each row gets its expert's.
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isWeight(operand))
      continue;
    Value vector = operand.get();
    int64_t width = cast<RankedTensorType>(vector.getType()).getDimSize(0);
    Value empty = tensor::EmptyOp::create(
        rewriter, loc, ArrayRef<OpFoldResult>{rows.count, rewriter.getIndexAttr(width)}, rewriter.getF32Type());
    Value filled = FillGroupsOp::create(rewriter, loc, empty.getType(), bankOf(vector), offsetsOf(vector), empty);
    mapping.map(vector, filled);
  }
  SmallVector<Type> types = llvm::map_to_vector(
      op.getDpsInits(), [&](Value init) { return mapping.lookupOrDefault(init).getType(); });
  if (!readsVectors) {
    Operation *clone = rewriter.clone(*op, mapping);
    for (auto [result, type] : llvm::zip_equal(clone->getResults(), types))
      result.setType(type);
    return;
  }
  unsigned rowLoop = 0;
  for (OpOperand &operand : op->getOpOperands())
    if (body.kindOf(operand.get()) == BodyValue::Rows)
      rowLoop = op.getMatchingIndexingMap(&operand).getDimPosition(0);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (OpOperand &operand : op->getOpOperands())
    if (isWeight(operand))
      maps[operand.getOperandNumber()] =
          maps[operand.getOperandNumber()].insertResult(rewriter.getAffineDimExpr(rowLoop), 0);
  auto lookup = [&](Value value) { return mapping.lookupOrDefault(value); };
  auto generic = linalg::GenericOp::create(
      rewriter, loc, types, llvm::map_to_vector(op.getDpsInputs(), lookup),
      llvm::map_to_vector(op.getDpsInits(), lookup), maps, op.getIteratorTypesArray());
  rewriter.cloneRegionBefore(op->getRegion(0), generic.getRegion(), generic.getRegion().end(), mapping);
  for (OpOperand &operand : op->getOpOperands())
    if (isWeight(operand))
      widenArgument(rewriter, generic.getRegion().getArgument(operand.getOperandNumber()));
  mapping.map(op->getResults(), generic.getResults());
}

void BodyLifter::lift(Operation *op) {
  if (auto dimOp = dyn_cast<tensor::DimOp>(op); dimOp && body.kindOf(dimOp.getSource()) != BodyValue::Uniform) {
    mapping.map(dimOp.getResult(), dim(dimOp));
    return;
  }
  auto withRowCount = [&](ArrayRef<OpFoldResult> sizes) {
    SmallVector<OpFoldResult> lifted = {rows.count};
    for (OpFoldResult size : sizes.drop_front())
      lifted.push_back(isa<Value>(size) ? OpFoldResult(mapping.lookupOrDefault(cast<Value>(size))) : size);
    return lifted;
  };
  if (auto empty = dyn_cast<tensor::EmptyOp>(op); empty && body.kindOf(op) == BodyOp::Lift) {
    Value all = tensor::EmptyOp::create(rewriter, op->getLoc(), withRowCount(empty.getMixedSizes()),
                                        empty.getType().getElementType());
    mapping.map(empty.getResult(), all);
    return;
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op); slice && body.kindOf(op) == BodyOp::Lift) {
    auto mapped = [&](ArrayRef<OpFoldResult> values) {
      return llvm::map_to_vector(values, [&](OpFoldResult value) {
        return isa<Value>(value) ? OpFoldResult(mapping.lookupOrDefault(cast<Value>(value))) : value;
      });
    };
    Value all = tensor::ExtractSliceOp::create(
        rewriter, op->getLoc(), cast<RankedTensorType>(liftedType(slice.getType())), mapping.lookup(slice.getSource()),
        mapped(slice.getMixedOffsets()), withRowCount(slice.getMixedSizes()), mapped(slice.getMixedStrides()));
    mapping.map(slice.getResult(), all);
    return;
  }
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op); linalgOp && body.kindOf(op) == BodyOp::Lift)
    return liftLinalg(linalgOp);
  Operation *clone = rewriter.clone(*op, mapping);
  if (body.kindOf(op) == BodyOp::Lift)
    for (Value result : clone->getResults())
      result.setType(liftedType(result.getType()));
}

Value BodyLifter::run() {
  for (auto [argument, value] : llvm::zip(block.getArguments(), rows.arguments))
    mapping.map(argument, value);
  for (auto [argument, value] : llvm::zip(block.getArguments().take_back(experts.getShared().size()), experts.getShared()))
    mapping.map(argument, value);
  for (Operation &op : block.without_terminator()) {
    if (body.kindOf(&op) == BodyOp::Product)
      liftProduct(cast<linalg::LinalgOp>(op));
    else if (body.kindOf(&op) != BodyOp::Drop)
      lift(&op);
  }
  return mapping.lookup(block.getTerminator()->getOperand(0));
}

/// Tells for each class where its experts begin; the last entry is the number of experts. Nothing where the classes do
/// not follow one after the other.
static std::optional<SmallVector<int64_t>> classBounds(ExpertsOp experts) {
  SmallVector<int64_t> bounds = {0};
  int64_t count = experts.getRouting().getType().getExperts();
  for (int64_t expert = 0; expert < count; ++expert) {
    int64_t of = experts.getClassOf(expert);
    if (of < int64_t(bounds.size()) - 1)
      return std::nullopt;
    while (of > int64_t(bounds.size()) - 1)
      bounds.push_back(expert);
  }
  bounds.resize(experts.getBodies().size() + 1, count);
  return bounds;
}

/// `length` entries of the vector `tensor` from `begin` on.
static Value sliceVector(RewriterBase &rewriter, Location loc, Value tensor, OpFoldResult begin, OpFoldResult length) {
  return tensor::ExtractSliceOp::create(rewriter, loc, tensor, ArrayRef{begin}, ArrayRef{length},
                                        ArrayRef<OpFoldResult>{rewriter.getIndexAttr(1)});
}

namespace {
/// Writes the decomposed form of one `moe.experts` before it.
class Decomposer {
public:
  Decomposer(RewriterBase &rewriter, ExpertsOp experts) : rewriter(rewriter), experts(experts), loc(experts.getLoc()) {}

  void run(ArrayRef<ExpertBody> bodies, ArrayRef<int64_t> bounds);

private:
  ClassRows rowsOfAll();
  ClassRows rowsOfClass(int64_t first, int64_t end);
  void gatherRows(ClassRows &rows, Value tokens);
  Value clampOffsets(Value begin, Value count);

  RewriterBase &rewriter;
  ExpertsOp experts;
  Location loc;
  PlanOp plan;
  OpFoldResult rowCount;
  Value weights, rowWeights;
};
} // namespace

/// The rows of the tokens `tokens`.
void Decomposer::gatherRows(ClassRows &rows, Value tokens) {
  for (Value source : experts.getRows()) {
    auto type = cast<RankedTensorType>(source.getType());
    Value empty = tensor::EmptyOp::create(
        rewriter, loc, ArrayRef{rows.count, tensor::getMixedSize(rewriter, loc, source, 1)}, type.getElementType());
    rows.arguments.push_back(GatherOp::create(rewriter, loc, empty.getType(), source, tokens, empty));
  }
}

ClassRows Decomposer::rowsOfAll() {
  ClassRows rows{rowCount, Value(), {}, plan.getOffsets(), plan.getOffsets()};
  gatherRows(rows, plan.getTokens());
  if (rowWeights)
    rows.arguments.push_back(rowWeights);
  return rows;
}

/// The offsets of all groups among `count` rows from `begin` on: groups outside are empty.
Value Decomposer::clampOffsets(Value begin, Value count) {
  return tensor::GenerateOp::create(rewriter, loc, plan.getOffsets().getType(), ValueRange{},
                                    [&](OpBuilder &b, Location loc, ValueRange index) {
                                      Value zero = arith::ConstantIndexOp::create(b, loc, 0);
                                      Value offset = tensor::ExtractOp::create(b, loc, plan.getOffsets(), index);
                                      Value moved = arith::SubIOp::create(b, loc, offset, begin);
                                      Value low = arith::MaxSIOp::create(b, loc, moved, zero);
                                      Value clamped = arith::MinSIOp::create(b, loc, low, count);
                                      tensor::YieldOp::create(b, loc, clamped);
                                    });
}

/// The rows of the experts from `first` up to `end`.
ClassRows Decomposer::rowsOfClass(int64_t first, int64_t end) {
  auto offset = [&](int64_t expert) -> Value {
    Value index = arith::ConstantIndexOp::create(rewriter, loc, expert);
    return tensor::ExtractOp::create(rewriter, loc, plan.getOffsets(), index);
  };
  ClassRows rows;
  rows.begin = offset(first);
  Value count = arith::SubIOp::create(rewriter, loc, offset(end), rows.begin);
  // Never less than there are; but this bound is known without a look at the plan.
  Value most = getValueOrCreateConstantIndexOp(rewriter, loc, rowCount);
  count = arith::MinSIOp::create(rewriter, loc, count, most);
  rows.count = count;
  rows.allOffsets = clampOffsets(rows.begin, count);
  rows.ownOffsets = sliceVector(rewriter, loc, rows.allOffsets, rewriter.getIndexAttr(first),
                                rewriter.getIndexAttr(end - first + 1));
  gatherRows(rows, sliceVector(rewriter, loc, plan.getTokens(), rows.begin, rows.count));
  if (rowWeights)
    rows.arguments.push_back(sliceVector(rewriter, loc, rowWeights, rows.begin, rows.count));
  return rows;
}

void Decomposer::run(ArrayRef<ExpertBody> bodies, ArrayRef<int64_t> bounds) {
  rewriter.setInsertionPoint(experts);
  plan = PlanOp::create(rewriter, loc, experts.getRouting());
  rowCount = tensor::getMixedSize(rewriter, loc, plan.getTokens(), 0);
  weights = RoutingPartsOp::create(rewriter, loc, experts.getRouting()).getWeights();
  if (experts.getWithWeights())
    rowWeights = buildRowWeights(rewriter, loc, plan.getSlots(), weights, rowCount);

  Value out;
  if (bodies.size() == 1) {
    out = BodyLifter(rewriter, experts, 0, bodies[0], rowsOfAll()).run();
  } else {
    for (auto [index, body] : llvm::enumerate(bodies)) {
      if (bounds[index] == bounds[index + 1])
        continue;
      ClassRows rows = rowsOfClass(bounds[index], bounds[index + 1]);
      Value part = BodyLifter(rewriter, experts, index, body, rows).run();
      OpFoldResult width = tensor::getMixedSize(rewriter, loc, part, 1), zero = rewriter.getIndexAttr(0);
      if (!out)
        out = tensor::EmptyOp::create(rewriter, loc, ArrayRef{rowCount, width}, rewriter.getF32Type());
      out = tensor::InsertSliceOp::create(rewriter, loc, part, out, ArrayRef<OpFoldResult>{rows.begin, zero},
                                          ArrayRef<OpFoldResult>{rows.count, width},
                                          ArrayRef<OpFoldResult>(SmallVector<OpFoldResult>(2, rewriter.getIndexAttr(1))));
    }
  }

  // Slots without an expert count as row -1, which combine skips: rows past the last expert's are read by nobody.
  OpFoldResult tokens = tensor::getMixedSize(rewriter, loc, experts.getRows()[0], 0);
  Value result = buildCombination(rewriter, loc, out, plan.getSlots(), weights, experts.getCombine(), tokens,
                                  experts.getResult().getType());

  // What only served as the start of a product, or as a size, is read by nobody now.
  for (Operation *op = experts->getPrevNode(); op != plan;) {
    Operation *previous = op->getPrevNode();
    if (op != result.getDefiningOp() && isOpTriviallyDead(op))
      rewriter.eraseOp(op);
    op = previous;
  }
  rewriter.replaceOp(experts, result);
}

namespace {
struct DecomposeExperts : moe::impl::DecomposeExpertsPassBase<DecomposeExperts> {
  /// The bodies of all classes and where the classes begin, unless one of them can only run expert by expert.
  static LogicalResult analyse(ExpertsOp experts, SmallVectorImpl<ExpertBody> &bodies, SmallVectorImpl<int64_t> &bounds) {
    auto whyNot = [&](Operation *op, const Twine &reason) {
      reportMissed(op, kPass, "experts are computed one by one: '" + op->getName().getStringRef() + "' " + reason);
    };
    auto found = classBounds(experts);
    if (!found) {
      whyNot(experts, "has classes whose experts do not follow one another");
      return failure();
    }
    bounds.assign(found->begin(), found->end());
    for (unsigned index = 0; index < experts.getBodies().size(); ++index) {
      auto body = ExpertBody::analyse(experts, index, whyNot);
      if (failed(body))
        return failure();
      bodies.push_back(*body);
    }
    return success();
  }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<ExpertsOp> all;
    getOperation().walk([&](ExpertsOp experts) { all.push_back(experts); });
    for (ExpertsOp experts : all) {
      SmallVector<ExpertBody> bodies;
      SmallVector<int64_t> bounds;
      if (failed(analyse(experts, bodies, bounds)))
        continue;
      Decomposer(rewriter, experts).run(bodies, bounds);
      ++decomposed;
    }
  }
};
} // namespace
