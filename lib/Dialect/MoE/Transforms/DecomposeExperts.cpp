//===- DecomposeExperts.cpp - moe-decompose-experts -----------------------===//
//
// Runs the program of one expert on the rows of all experts at once: plan, gather, the body's operations over all rows,
// combine.
//
//===----------------------------------------------------------------------===//

#include "ExpertBody.h"
#include "Missed.h"
#include "Structure.h"

#include "moe/Dialect/MoE/IR/Builders.h"
#include "moe/Dialect/MoE/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
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
/// Writes the decomposed form of one `moe.experts` before it.
class Decomposer {
public:
  Decomposer(RewriterBase &rewriter, ExpertsOp experts, const ExpertBody &body)
      : rewriter(rewriter), experts(experts), body(body) {}

  void run();

private:
  void lift(Operation *op);
  void liftProduct(linalg::LinalgOp op);
  void liftLinalg(linalg::LinalgOp op);
  Value dim(tensor::DimOp op);
  Value component(Value weight);
  Value bankOf(Value weight);
  Value rowExperts();
  Type liftedType(Type type);

  RewriterBase &rewriter;
  ExpertsOp experts;
  const ExpertBody &body;
  IRMapping mapping;
  PlanOp plan;
  OpFoldResult rowCount;
  Value expertOfRow;
};
} // namespace

/// The type of all rows where `type` is that of one expert's rows.
Type Decomposer::liftedType(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = plan.getTokens().getType().getDimSize(0);
  return tensor.clone(shape);
}

/// The tensor of all experts that `weight` is a part of.
Value Decomposer::component(Value weight) {
  BankComponent which = body.componentOf(weight);
  auto parts = BankPartsOp::create(rewriter, weight.getLoc(), experts.getBanks()[which.bank]);
  return parts.getComponents()[which.component];
}

/// A bank that holds nothing but the component `weight` is a part of.
Value Decomposer::bankOf(Value weight) {
  Value bank = experts.getBanks()[body.componentOf(weight).bank];
  if (cast<BankType>(bank.getType()).getComponents().size() == 1)
    return bank;
  return MakeBankOp::create(rewriter, weight.getLoc(), component(weight)).getBank();
}

/// The expert of each row: how many experts end at or before the row. Rows past the last expert's, which nobody reads,
/// get a valid expert too.
Value Decomposer::rowExperts() {
  if (expertOfRow)
    return expertOfRow;
  OpBuilder::InsertionGuard guard(rewriter);
  // Where the body's operations begin, so that all of them see it.
  rewriter.setInsertionPointAfterValue(mapping.lookup(experts.getBodies().front().getArgument(0)));
  Location loc = experts.getLoc();
  int64_t count = cast<BankType>(experts.getBanks()[0].getType()).getExperts();
  Value empty = tensor::EmptyOp::create(rewriter, loc, ArrayRef{rowCount}, rewriter.getIndexType());
  Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
  Value zeros = linalg::FillOp::create(rewriter, loc, zero, empty).getResult(0);
  Value ends = tensor::ExtractSliceOp::create(
      rewriter, loc, plan.getOffsets(), ArrayRef<OpFoldResult>{rewriter.getIndexAttr(1)},
      ArrayRef<OpFoldResult>{rewriter.getIndexAttr(count - 1)}, ArrayRef<OpFoldResult>{rewriter.getIndexAttr(1)});
  AffineMap row = AffineMap::get(2, 0, rewriter.getAffineDimExpr(0)), end = AffineMap::get(2, 0, rewriter.getAffineDimExpr(1));
  expertOfRow = linalg::GenericOp::create(
                    rewriter, loc, TypeRange{zeros.getType()}, ValueRange{ends}, ValueRange{zeros}, ArrayRef{end, row},
                    ArrayRef{utils::IteratorType::parallel, utils::IteratorType::reduction},
                    [](OpBuilder &b, Location loc, ValueRange arguments) {
                      Value position = linalg::IndexOp::create(b, loc, 0);
                      Value one = arith::ConstantIndexOp::create(b, loc, 1);
                      Value more = arith::AddIOp::create(b, loc, arguments[1], one);
                      Value past = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, arguments[0], position);
                      Value sum = arith::SelectOp::create(b, loc, past, more, arguments[1]);
                      linalg::YieldOp::create(b, loc, sum);
                    })
                    .getResult(0);
  return expertOfRow;
}

/// An extent of rows other than their number, or of a weight.
Value Decomposer::dim(tensor::DimOp op) {
  int64_t index = *op.getConstantIndex();
  auto type = cast<RankedTensorType>(op.getSource().getType());
  if (!type.isDynamicDim(index))
    return arith::ConstantIndexOp::create(rewriter, op.getLoc(), type.getDimSize(index));
  return tensor::DimOp::create(rewriter, op.getLoc(), mapping.lookup(op.getSource()), index);
}

void Decomposer::liftProduct(linalg::LinalgOp op) {
  Contraction contraction = *matchContraction(op);
  // The zeros that the body starts from are what a grouped product starts from by itself.
  Value zeros = contraction.init->get(), init = mapping.lookup(zeros);
  if (auto fill = zeros.getDefiningOp<linalg::FillOp>())
    init = mapping.lookup(fill.output());
  auto product = GroupedMatmulOp::create(rewriter, op.getLoc(), init.getType(),
                                         mapping.lookup(contraction.rows->get()), Value(),
                                         bankOf(contraction.weight->get()), plan.getOffsets(), init);
  mapping.map(op->getResult(0), product.getResult());
}

void Decomposer::liftLinalg(linalg::LinalgOp op) {
  Location loc = op.getLoc();
  auto isWeight = [&](OpOperand &operand) { return body.kindOf(operand.get()) == BodyValue::Weight; };
  bool readsVectors = llvm::any_of(op->getOpOperands(), isWeight);
  // Where each expert has a vector of its own, each row gets a copy of its expert's.
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isWeight(operand))
      continue;
    Value vectors = component(operand.get());
    auto type = cast<RankedTensorType>(operand.get().getType());
    Value empty = tensor::EmptyOp::create(
        rewriter, loc, ArrayRef<OpFoldResult>{rowCount, rewriter.getIndexAttr(type.getDimSize(0))}, type.getElementType());
    Value gathered = GatherOp::create(rewriter, loc, empty.getType(), vectors, rowExperts(), empty);
    mapping.map(operand.get(), gathered);
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
  mapping.map(op->getResults(), generic.getResults());
}

void Decomposer::lift(Operation *op) {
  if (auto dimOp = dyn_cast<tensor::DimOp>(op); dimOp && body.kindOf(dimOp.getSource()) != BodyValue::Uniform) {
    mapping.map(dimOp.getResult(), dim(dimOp));
    return;
  }
  auto withRowCount = [&](ArrayRef<OpFoldResult> sizes) {
    SmallVector<OpFoldResult> lifted = {rowCount};
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

void Decomposer::run() {
  Location loc = experts.getLoc();
  Block &block = experts.getBodies().front().front();
  rewriter.setInsertionPoint(experts);
  plan = PlanOp::create(rewriter, loc, experts.getRouting());
  rowCount = tensor::getMixedSize(rewriter, loc, plan.getTokens(), 0);

  Value source = experts.getRows();
  auto type = cast<RankedTensorType>(source.getType());
  Value empty = tensor::EmptyOp::create(rewriter, loc,
                                        ArrayRef{rowCount, tensor::getMixedSize(rewriter, loc, source, 1)},
                                        type.getElementType());
  Value rows = GatherOp::create(rewriter, loc, empty.getType(), source, plan.getTokens(), empty);
  mapping.map(block.getArgument(0), rows);
  for (auto [argument, value] : llvm::zip(block.getArguments().take_back(experts.getShared().size()), experts.getShared()))
    mapping.map(argument, value);

  Operation *before = rows.getDefiningOp();
  for (Operation &op : block.without_terminator()) {
    if (body.kindOf(&op) == BodyOp::Product)
      liftProduct(cast<linalg::LinalgOp>(op));
    else if (body.kindOf(&op) != BodyOp::Drop)
      lift(&op);
  }

  // Slots without an expert count as row -1, which combine skips: rows past the last expert's are read by nobody.
  Value out = mapping.lookup(block.getTerminator()->getOperand(0));
  Value weights = RoutingPartsOp::create(rewriter, loc, experts.getRouting()).getWeights();
  SmallVector<OpFoldResult> sizes = {tensor::getMixedSize(rewriter, loc, source, 0),
                                     tensor::getMixedSize(rewriter, loc, out, 1)};
  Value zero = arith::ConstantOp::create(rewriter, loc, rewriter.getF32FloatAttr(0.0f));
  Value target = tensor::EmptyOp::create(rewriter, loc, sizes, rewriter.getF32Type());
  Value init = linalg::FillOp::create(rewriter, loc, zero, target).getResult(0);
  Value result = CombineOp::create(rewriter, loc, init.getType(), out, plan.getSlots(), weights, experts.getCombine(), init);
  if (result.getType() != experts.getResult().getType())
    result = tensor::CastOp::create(rewriter, loc, experts.getResult().getType(), result);

  // What only served as the start of a product, or as a size, is read by nobody now.
  for (Operation *op = experts->getPrevNode(); op != before;) {
    Operation *previous = op->getPrevNode();
    if (op != result.getDefiningOp() && isOpTriviallyDead(op))
      rewriter.eraseOp(op);
    op = previous;
  }
  rewriter.replaceOp(experts, result);
}

namespace {
struct DecomposeExperts : moe::impl::DecomposeExpertsPassBase<DecomposeExperts> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<ExpertsOp> all;
    getOperation().walk([&](ExpertsOp experts) { all.push_back(experts); });
    for (ExpertsOp experts : all) {
      auto body = ExpertBody::analyse(experts, [&](Operation *op, const Twine &reason) {
        reportMissed(op, kPass, "experts are computed one by one: '" + op->getName().getStringRef() + "' " + reason);
      });
      if (failed(body))
        continue;
      Decomposer(rewriter, experts, *body).run();
      ++decomposed;
    }
  }
};
} // namespace
