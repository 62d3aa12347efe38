//===- RoutingFacts.cpp - What is known of a routing ----------------------===//
//
// Walks from a routing back to where its rows come from, and notes what is read row by row and what as a whole.
//
//===----------------------------------------------------------------------===//

#include "RoutingFacts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::moe;

/// Calls followed into one another; deeper ones are not.
static constexpr int kMaxCallDepth = 8;

namespace {
/// How a value is read: a token reads `rows` consecutive rows of its own, or (0) everything.
struct Reading {
  Value value;
  int64_t rows;
  bool operator==(const Reading &other) const { return value == other.value && rows == other.rows; }
};
} // namespace

namespace llvm {
template <> struct DenseMapInfo<Reading> {
  static Reading getEmptyKey() { return {DenseMapInfo<Value>::getEmptyKey(), 0}; }
  static Reading getTombstoneKey() { return {DenseMapInfo<Value>::getTombstoneKey(), 0}; }
  static unsigned getHashValue(const Reading &reading) {
    return hash_combine(DenseMapInfo<Value>::getHashValue(reading.value), reading.rows);
  }
  static bool isEqual(const Reading &a, const Reading &b) { return a == b; }
};
} // namespace llvm

namespace {
class Walker {
public:
  explicit Walker(int depth = 0) : depth(depth) {}

  void readRouting(Value routing, int64_t rows = 1);
  void read(Value value, int64_t rows);
  RoutingFacts finish();

private:
  void readSelect(SelectOp select, int64_t rows);
  void readLinalg(linalg::LinalgOp op, unsigned result, int64_t rows);
  void readCaptured(linalg::LinalgOp op, AffineExpr token, int64_t rows);
  void readReshape(Operation *op, int64_t rows);
  void readBody(Block &block, unsigned result, ArrayRef<std::pair<Value, Value>> operands, int64_t rows, Operation *op);
  void readAll(Operation *op);
  void note(Independence independence, const Twine &reason);
  /// A value that nothing here makes.
  void leaf(Value value, int64_t rows);
  /// What calls hand to `argument` of a private function; whether there are such calls.
  bool readCallers(BlockArgument argument, int64_t rows);
  /// A value that is made in a way that is not followed: its rows are taken as they are.
  void stopAt(Value value, int64_t rows);
  bool readsBoundaryAsWhole() const;

  int depth;
  /// Whether something here chose, rather than was given.
  bool decided = false;
  llvm::DenseSet<Reading> seen;
  llvm::SetVector<Value> byRow, asWhole, boundary;
  RoutingFacts facts;
};
} // namespace

void Walker::note(Independence independence, const Twine &reason) {
  if (facts.independence >= Independence::Coupled)
    return;
  facts.independence = independence;
  facts.reason = reason.str();
}

bool Walker::readCallers(BlockArgument argument, int64_t rows) {
  auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
  // Inside a call that is followed, arguments are those of that call.
  if (depth > 0 || !function || !function.isPrivate())
    return false;
  std::optional<SymbolTable::UseRange> uses = SymbolTable::getSymbolUses(function, function->getParentOp());
  if (!uses || uses->empty())
    return false;
  for (SymbolTable::SymbolUse use : *uses) {
    auto call = dyn_cast<func::CallOp>(use.getUser());
    if (!call)
      return false;
    Value operand = call.getOperand(argument.getArgNumber());
    isa<RoutingType>(operand.getType()) && rows ? readRouting(operand, rows) : read(operand, rows);
  }
  return true;
}

void Walker::stopAt(Value value, int64_t rows) {
  if (rows > 1)
    return note(Independence::Unknown, "rows of several tokens meet that are computed in a way that is not followed");
  boundary.insert(value);
}

void Walker::leaf(Value value, int64_t rows) {
  if (auto argument = dyn_cast<BlockArgument>(value); argument && readCallers(argument, rows))
    return;
  if (rows > 1)
    return note(Independence::Unknown, "a token reads several rows of something given");
  (rows == 1 ? byRow : asWhole).insert(value);
}

/// Everything that `op` reads, whatever it does.
void Walker::readAll(Operation *op) {
  for (Value operand : op->getOperands())
    read(operand, 0);
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (!op->isAncestor(operand.getParentRegion()->getParentOp()))
        read(operand, 0);
  });
}

void Walker::readRouting(Value routing, int64_t rows) {
  if (!seen.insert({routing, rows}).second)
    return;
  Operation *op = routing.getDefiningOp();
  if (!op)
    return leaf(routing, rows);
  if (auto select = dyn_cast<SelectOp>(op))
    return readSelect(select, rows);
  if (auto limit = dyn_cast<LimitOp>(op)) {
    readRouting(limit.getRouting(), rows);
    return note(Independence::Coupled, "moe.limit lets tokens compete for the room an expert has");
  }
  if (auto reweigh = dyn_cast<ReweighOp>(op))
    return readRouting(reweigh.getRouting(), rows);
  if (auto spread = dyn_cast<SpreadOp>(op)) {
    read(spread.getRows(), rows);
    return readRouting(spread.getRouting(), rows);
  }
  if (auto make = dyn_cast<MakeRoutingOp>(op)) {
    read(make.getIds(), rows);
    return read(make.getWeights(), rows);
  }
  rows ? stopAt(routing, rows) : readAll(op);
}

void Walker::readSelect(SelectOp select, int64_t rows) {
  decided = true;
  if (!select.getPolicy().isTokenIndependent())
    return note(Independence::Coupled, "its policy looks at several tokens at once");
  for (OpOperand &operand : select->getOpOperands())
    read(operand.get(), select.isPerToken(operand) ? rows : 0);
}

void Walker::read(Value value, int64_t rows) {
  if (!seen.insert({value, rows}).second || facts.independence >= Independence::Coupled)
    return;
  Operation *op = value.getDefiningOp();
  if (!op)
    return leaf(value, rows);
  // Weights, constants and room for results say nothing about tokens.
  if (op->hasTrait<OpTrait::ConstantLike>() || isa<tensor::EmptyOp>(op) || op->getNumOperands() == 0)
    return;
  if (auto parts = dyn_cast<RoutingPartsOp>(op))
    return rows ? readRouting(parts.getRouting(), rows) : read(parts.getRouting(), 0);
  if (rows == 0)
    return readAll(op);
  unsigned result = cast<OpResult>(value).getResultNumber();
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return readLinalg(linalgOp, result, rows);
  if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
    return readReshape(op, rows);
  if (isa<tensor::CastOp>(op) || op->hasTrait<OpTrait::Elementwise>()) {
    for (Value operand : op->getOperands())
      read(operand, rows);
    return;
  }
  if (auto softmax = dyn_cast<linalg::SoftmaxOp>(op))
    return read(softmax.getInput(), softmax.getDimension() == 0 ? 0 : rows);
  if (auto product = dyn_cast<GroupedMatmulOp>(op); product && product.getGroups() == 1 && !product.getIndices()) {
    read(product.getInit(), rows);
    return read(product.getRows(), rows);
  }
  if (auto experts = dyn_cast<ExpertsOp>(op)) {
    if (!experts.getState().empty())
      return note(Independence::Coupled, "experts with a state hand a token what earlier ones left");
    readRouting(experts.getRouting(), rows);
    for (Region &body : experts.getBodies()) {
      // First the rows, and the weights of their slots, which the routing brings; last the shared operands.
      SmallVector<std::pair<Value, Value>> operands;
      for (auto [argument, own] : llvm::zip(body.getArguments(), experts.getRows()))
        operands.emplace_back(argument, own);
      for (auto [argument, shared] : llvm::zip(body.getArguments().take_back(experts.getShared().size()), experts.getShared()))
        operands.emplace_back(argument, shared);
      readBody(body.front(), result, operands, rows, op);
    }
    return;
  }
  if (auto call = dyn_cast<func::CallOp>(op)) {
    auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
    if (callee && !callee.isDeclaration() && callee.getBody().hasOneBlock() && depth < kMaxCallDepth) {
      auto operands = llvm::to_vector(
          llvm::map_range(llvm::zip_equal(callee.getArguments(), call.getOperands()), [](auto pair) {
            return std::pair<Value, Value>(std::get<0>(pair), std::get<1>(pair));
          }));
      return readBody(callee.getBody().front(), result, operands, rows, op);
    }
  }
  if (auto gather = dyn_cast<GatherOp>(op)) {
    read(gather.getIndices(), rows);
    return read(gather.getSource(), 0);
  }
  stopAt(value, rows);
}

/// Reads `operands` as the result of a block reads its arguments; arguments not listed are weights.
void Walker::readBody(Block &block, unsigned result, ArrayRef<std::pair<Value, Value>> operands, int64_t rows,
                      Operation *op) {
  Walker inner(depth + 1);
  inner.read(block.getTerminator()->getOperand(result), 1);
  for (auto [argument, operand] : operands) {
    bool byRow = inner.byRow.contains(argument), asWhole = inner.asWhole.contains(argument);
    if (byRow && asWhole)
      note(Independence::Coupled, "'" + op->getName().getStringRef() + "' computes over several of its rows");
    if (byRow)
      isa<RoutingType>(operand.getType()) ? readRouting(operand, rows) : read(operand, rows);
    if (asWhole)
      read(operand, 0);
  }
  if (inner.facts.independence >= Independence::Coupled)
    note(inner.facts.independence, inner.facts.reason);
  decided |= inner.decided;
  if (inner.boundary.empty())
    return;
  if (inner.readsBoundaryAsWhole())
    note(Independence::Coupled, "'" + op->getName().getStringRef() + "' computes over several of its rows");
  // The innermost operation that was not followed is the one to name.
  boundary.insert(inner.boundary.front());
  stopAt(op->getResult(result), rows);
}

void Walker::readReshape(Operation *op, int64_t rows) {
  bool expands = isa<tensor::ExpandShapeOp>(op);
  auto groups = expands ? cast<tensor::ExpandShapeOp>(op).getReassociationIndices()
                        : cast<tensor::CollapseShapeOp>(op).getReassociationIndices();
  // How many rows of the flat side are one of the other: all extents that share the group of the first but itself.
  auto deep = cast<RankedTensorType>(expands ? op->getResult(0).getType() : op->getOperand(0).getType());
  int64_t inner = 1;
  for (int64_t dimension : llvm::drop_begin(groups.front())) {
    if (deep.isDynamicDim(dimension))
      return note(Independence::Unknown, "it is reshaped by a factor that is not static");
    inner *= deep.getDimSize(dimension);
  }
  if (expands)
    return read(op->getOperand(0), rows * inner);
  if (inner == 0 || (rows % inner != 0 && inner % rows != 0))
    return note(Independence::Unknown, "it is reshaped so that rows of several tokens meet");
  // Part of a row is as good as the row.
  read(op->getOperand(0), std::max<int64_t>(rows / inner, 1));
}

void Walker::readLinalg(linalg::LinalgOp op, unsigned result, int64_t rows) {
  AffineMap map = op.getIndexingMapMatchingResult(op->getResult(result));
  auto token = dyn_cast<AffineDimExpr>(map.getResult(0));
  if (!token || op.getIteratorTypesArray()[token.getPosition()] != utils::IteratorType::parallel)
    return stopAt(op->getResult(result), rows);
  for (OpOperand &operand : op->getOpOperands()) {
    if (!op.payloadUsesValueFromOperand(&operand))
      continue;
    AffineMap own = op.getMatchingIndexingMap(&operand);
    bool inside = own.isFunctionOfDim(token.getPosition());
    bool first = inside && own.getResult(0) == token && own.dropResult(0).isFunctionOfDim(token.getPosition()) == false;
    if (inside && !first)
      return stopAt(op->getResult(result), rows);
    read(operand.get(), first ? rows : 0);
  }
  readCaptured(op, token, rows);
}

/// What the payload reads by index: rows of its own token, or of any.
void Walker::readCaptured(linalg::LinalgOp op, AffineExpr token, int64_t rows) {
  unsigned position = cast<AffineDimExpr>(token).getPosition();
  auto isToken = [&](Value value) {
    auto index = value.getDefiningOp<linalg::IndexOp>();
    return index && index.getDim() == position;
  };
  op->walk([&](Operation *inner) {
    if (inner == op)
      return;
    auto extract = dyn_cast<tensor::ExtractOp>(inner);
    if (extract && !op->isAncestor(extract.getTensor().getParentRegion()->getParentOp())) {
      bool own = !extract.getIndices().empty() && isToken(extract.getIndices()[0]);
      read(extract.getTensor(), own ? rows : 0);
      return;
    }
    for (Value operand : inner->getOperands()) {
      if (isToken(operand))
        note(Independence::Unknown, "it depends on where in the batch the token stands");
      else if (!op->isAncestor(operand.getParentRegion()->getParentOp()))
        read(operand, 0);
    }
  });
}

bool Walker::readsBoundaryAsWhole() const {
  return llvm::any_of(boundary, [&](Value value) { return seen.contains({value, 0}); });
}

RoutingFacts Walker::finish() {
  if (readsBoundaryAsWhole())
    note(Independence::Coupled, "something is computed over all tokens");
  for (Value value : asWhole) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (byRow.contains(value))
      note(Independence::Coupled, "something is computed over all tokens");
    else if (type && type.getRank() > 0 && type.isDynamicDim(0))
      note(Independence::Unknown, "every token reads all rows of something given, which may be those of other tokens");
  }
  if (!boundary.empty())
    note(Independence::Local, "what '" + boundary.front().getDefiningOp()->getName().getStringRef() +
                                  "' computes is not followed");
  else if (!decided)
    note(Independence::Given, "it comes from outside, row by row");
  else
    note(Independence::Alone, "only the token's own rows and what is the same for all are read");
  return facts;
}

/// Who chose, and whether slots can be empty: along the routings that `routing` is made from.
static void addDecision(Value routing, RoutingFacts &facts) {
  while (Operation *op = routing.getDefiningOp()) {
    if (auto select = dyn_cast<SelectOp>(op)) {
      facts.decision = select;
      facts.mayBeEmpty |= select.mayLeaveSlotsEmpty();
      return;
    }
    facts.mayBeEmpty |= !isa<ReweighOp>(op);
    auto make = dyn_cast<MakeRoutingOp>(op);
    auto parts = make ? make.getIds().getDefiningOp<RoutingPartsOp>() : nullptr;
    if (parts)
      routing = parts.getRouting();
    else if (isa<LimitOp, ReweighOp, SpreadOp>(op))
      routing = op->getOperand(0);
    else
      return;
  }
  facts.mayBeEmpty = true;
}

RoutingFacts moe::computeRoutingFacts(Value routing) {
  Walker walker;
  walker.readRouting(routing);
  RoutingFacts facts = walker.finish();
  addDecision(routing, facts);
  return facts;
}
