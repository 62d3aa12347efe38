//===- DecodeStep.cpp - Greedy decoding that the host never looks into ----===//
//
// Implements moe-gpu-decode-step: adds to a language model the function `decode_step`, which feeds one token to
// `forward`, chooses the next, and advances the state of decoding, all on the device.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::moe {
#define GEN_PASS_DEF_DECODESTEPPASS
#include "moe/GPU/Passes.h.inc"
} // namespace mlir::moe

using namespace mlir;
using namespace mlir::moe;
using arith::CmpFPredicate;
using arith::CmpIPredicate;

static constexpr StringLiteral kName = "decode_step";

static StringRef getRole(DictionaryAttr attributes) {
  auto role = attributes ? attributes.getAs<StringAttr>(MoEDialect::kRoleAttr) : StringAttr();
  return role ? role.getValue() : "";
}

/// Whether a step knows what to pass to `forward`; what is wrong with a language model is said elsewhere.
static bool canStep(func::FuncOp forward) {
  if (!forward || forward.isExternal())
    return false;
  auto numbers = RankedTensorType::get({ShapedType::kDynamic}, IntegerType::get(forward.getContext(), 32));
  llvm::StringMap<unsigned> found;
  for (auto [i, type] : llvm::enumerate(forward.getArgumentTypes())) {
    StringRef role = getRole(forward.getArgAttrDict(i));
    bool isNumbers = role == "tokens" || role == "positions" || role == "sequences";
    if (!(isNumbers && type == numbers) && !(role == "first_row" && type.isIndex()) && role != "cache")
      return false;
    ++found[role];
  }
  for (StringRef role : {"tokens", "positions", "sequences", "first_row"})
    if (found.lookup(role) != 1)
      return false;
  return llvm::count_if(llvm::seq(forward.getNumResults()), [&](unsigned i) {
           auto type = dyn_cast<RankedTensorType>(forward.getResultTypes()[i]);
           return getRole(forward.getResultAttrDict(i)) == "logits" && type && type.getRank() == 2 &&
                  type.getDimSize(1) > 0 && type.getElementType().isF32();
         }) == 1;
}

namespace {
/// The largest logit seen so far, and its token: minus infinity and the largest number, unsigned, before any.
struct Best {
  Value logit, token;
};

/// Builds the function into the module.
class Step {
public:
  Step(func::FuncOp forward, ArrayRef<int32_t> eos, int64_t fanIn)
      : forward(forward), eos(eos), fanIn(fanIn), b(forward.getLoc(), forward.getContext()) {}
  void build();

private:
  enum Argument { tokens, positions, sequences, stop, firstCache };

  void begin(StringRef part);
  DictionaryAttr describe(StringRef name);
  void buildFunction();
  Value number(int32_t value) { return arith::ConstantIntOp::create(b, b.getI32Type(), value); }
  Value is(CmpIPredicate predicate, Value a, Value c) { return arith::CmpIOp::create(b, predicate, a, c); }
  Value choose(Value condition, Value a, Value c) { return arith::SelectOp::create(b, condition, a, c); }
  SmallVector<Value> map(ValueRange inputs, ValueRange inits,
                         function_ref<SmallVector<Value>(ValueRange elements)> body);
  SmallVector<Value> buildFed();
  func::CallOp buildCall(Value token, Value position);
  Best mergeBest(Best best, Best candidate);
  Best buildGroups(int64_t from, int64_t groups, function_ref<Best(Value index)> read);
  Value buildChoice(Value logits);
  SmallVector<Value> buildAdvance(Value fed, Value chosen);

  func::FuncOp forward, function;
  ArrayRef<int32_t> eos;
  int64_t fanIn;
  ImplicitLocOpBuilder b;
};
} // namespace

/// What is built from here on is called `part`, and so are its kernels.
void Step::begin(StringRef part) {
  Location place = forward.getLoc();
  if (auto named = dyn_cast<NameLoc>(place))
    place = named.getChildLoc();
  b.setLoc(NameLoc::get(b.getStringAttr(part), place));
}

DictionaryAttr Step::describe(StringRef name) {
  return b.getDictionaryAttr({b.getNamedAttr(MoEDialect::kNameAttr, b.getStringAttr(name)),
                              b.getNamedAttr(MoEDialect::kRoleAttr, b.getStringAttr(name))});
}

void Step::buildFunction() {
  auto one = RankedTensorType::get({1}, b.getI32Type());
  SmallVector<Type> inputs(4, one), outputs(3, one);
  SmallVector<DictionaryAttr> inputNames{describe("tokens"), describe("positions"), describe("sequences"),
                                         describe("stop")},
      outputNames{describe("tokens"), describe("positions"), describe("stop")};
  for (auto [i, type] : llvm::enumerate(forward.getArgumentTypes()))
    if (DictionaryAttr attributes = forward.getArgAttrDict(i); getRole(attributes) == "cache") {
      inputs.push_back(type);
      inputNames.push_back(attributes);
    }
  for (auto [i, type] : llvm::enumerate(forward.getResultTypes()))
    if (DictionaryAttr attributes = forward.getResultAttrDict(i); getRole(attributes) == "cache") {
      outputs.push_back(type);
      outputNames.push_back(attributes);
    }
  b.setInsertionPointAfter(forward);
  function = func::FuncOp::create(b, kName, b.getFunctionType(inputs, outputs));
  function.setAllArgAttrs(inputNames);
  function.setAllResultAttrs(outputNames);
  b.setInsertionPointToStart(function.addEntryBlock());
}

/// One thread for each element of `inits`, vectors of one length; `body` gives their new values.
SmallVector<Value> Step::map(ValueRange inputs, ValueRange inits,
                             function_ref<SmallVector<Value>(ValueRange elements)> body) {
  SmallVector<AffineMap> maps(inputs.size() + inits.size(), b.getMultiDimIdentityMap(1));
  auto op = linalg::GenericOp::create(b, TypeRange(inits), inputs, inits, maps, utils::IteratorType::parallel,
                                      [&](OpBuilder &inner, Location, ValueRange elements) {
                                        OpBuilder::InsertionGuard guard(b);
                                        b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
                                        linalg::YieldOp::create(b, body(elements));
                                      });
  return SmallVector<Value>(op.getResults());
}

/// The token to feed and its position: once decoding has ended, again those that were fed last, so that what the
/// caches get is what they hold.
SmallVector<Value> Step::buildFed() {
  Value empty = tensor::EmptyOp::create(b, ArrayRef<int64_t>{1}, b.getI32Type());
  ValueRange state = function.getArguments();
  return map({state[tokens], state[positions], state[stop]}, {empty, empty}, [&](ValueRange elements) {
    Value one = number(1), ended = is(CmpIPredicate::sgt, elements[2], number(0));
    Value last = arith::SubIOp::create(b, elements[2], one), before = arith::SubIOp::create(b, elements[1], one);
    return SmallVector<Value>{choose(ended, last, elements[0]), choose(ended, before, elements[1])};
  });
}

func::CallOp Step::buildCall(Value token, Value position) {
  auto any = RankedTensorType::get({ShapedType::kDynamic}, b.getI32Type());
  auto cast = [&](Value value) { return tensor::CastOp::create(b, any, value).getResult(); };
  unsigned cache = firstCache;
  SmallVector<Value> operands;
  for (unsigned i = 0, count = forward.getNumArguments(); i < count; ++i) {
    StringRef role = getRole(forward.getArgAttrDict(i));
    if (role == "tokens")
      operands.push_back(cast(token));
    else if (role == "positions")
      operands.push_back(cast(position));
    else if (role == "sequences")
      operands.push_back(cast(function.getArgument(sequences)));
    else if (role == "first_row")
      operands.push_back(arith::ConstantIndexOp::create(b, 0));
    else
      operands.push_back(function.getArgument(cache++));
  }
  return func::CallOp::create(b, forward, operands);
}

/// The larger logit, or the lower token of equal ones; NaN compares as neither.
Best Step::mergeBest(Best best, Best candidate) {
  Value larger = arith::CmpFOp::create(b, CmpFPredicate::OGT, candidate.logit, best.logit);
  Value equal = arith::CmpFOp::create(b, CmpFPredicate::OEQ, candidate.logit, best.logit);
  Value lower = is(CmpIPredicate::ult, candidate.token, best.token);
  Value better = arith::OrIOp::create(b, larger, arith::AndIOp::create(b, equal, lower));
  return {choose(better, candidate.logit, best.logit), choose(better, candidate.token, best.token)};
}

/// The best of each of `groups` groups of `from` candidates. A group's candidates lie `groups` apart, so that threads
/// beside each other read beside each other; the last candidate stands in for those that a group lacks.
Best Step::buildGroups(int64_t from, int64_t groups, function_ref<Best(Value index)> read) {
  Value logits = tensor::EmptyOp::create(b, {groups}, b.getF32Type());
  Value ids = tensor::EmptyOp::create(b, {groups}, b.getI32Type());
  SmallVector<Value> best = map({}, {logits, ids}, [&](ValueRange) {
    Value group = linalg::IndexOp::create(b, 0), last = arith::ConstantIndexOp::create(b, from - 1);
    auto infinity = APFloat::getInf(APFloat::IEEEsingle(), /*Negative=*/true);
    Value none = arith::ConstantFloatOp::create(b, b.getF32Type(), infinity);
    auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value).getResult(); };
    auto loop = scf::ForOp::create(
        b, index(0), index(llvm::divideCeil(from, groups)), index(1), ValueRange{none, number(-1)},
        [&](OpBuilder &inner, Location, Value round, ValueRange carried) {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPoint(inner.getInsertionBlock(), inner.getInsertionPoint());
          Value place = arith::AddIOp::create(b, arith::MulIOp::create(b, round, index(groups)), group);
          Best next = mergeBest({carried[0], carried[1]}, read(arith::MinSIOp::create(b, place, last)));
          scf::YieldOp::create(b, ValueRange{next.logit, next.token});
        });
    return SmallVector<Value>(loop.getResults());
  });
  return {best[0], best[1]};
}

/// The token of the largest logit, -1 if all are NaN: by groups of candidates, until one group is left.
Value Step::buildChoice(Value logits) {
  int64_t count = cast<RankedTensorType>(logits.getType()).getDimSize(1), groups = llvm::divideCeil(count, fanIn);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Best best = buildGroups(count, groups, [&](Value index) -> Best {
    Value token = arith::IndexCastOp::create(b, b.getI32Type(), index);
    return {tensor::ExtractOp::create(b, logits, ValueRange{zero, index}), token};
  });
  while (groups > 1) {
    int64_t from = groups;
    Best all = best;
    groups = llvm::divideCeil(groups, fanIn);
    best = buildGroups(from, groups, [&](Value index) -> Best {
      return {tensor::ExtractOp::create(b, all.logit, index), tensor::ExtractOp::create(b, all.token, index)};
    });
  }
  return best.token;
}

/// The state after a step; where decoding ends, stop becomes 1 more than the token that was fed.
SmallVector<Value> Step::buildAdvance(Value fed, Value chosen) {
  ValueRange state = function.getArguments();
  return map({fed, chosen}, {state[tokens], state[positions], state[stop]}, [&](ValueRange elements) {
    Value token = elements[2], position = elements[3], stopped = elements[4], next = elements[1];
    Value zero = number(0), one = number(1);
    Value isEos = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
    for (int32_t id : eos)
      isEos = arith::OrIOp::create(b, isEos, is(CmpIPredicate::eq, next, number(id)));
    Value runs = is(CmpIPredicate::sle, stopped, zero), looks = is(CmpIPredicate::eq, stopped, zero);
    Value ends = arith::OrIOp::create(b, arith::AndIOp::create(b, looks, isEos), is(CmpIPredicate::slt, next, zero));
    Value mark = arith::AddIOp::create(b, elements[0], one);
    return SmallVector<Value>{choose(runs, next, token),
                              choose(runs, arith::AddIOp::create(b, position, one), position),
                              choose(arith::AndIOp::create(b, runs, ends), mark, stopped)};
  });
}

void Step::build() {
  buildFunction();
  begin("feed");
  SmallVector<Value> fed = buildFed();
  func::CallOp call = buildCall(fed[0], fed[1]);
  Value logits;
  SmallVector<Value> caches;
  for (auto [i, result] : llvm::enumerate(call.getResults())) {
    StringRef role = getRole(forward.getResultAttrDict(i));
    if (role == "logits")
      logits = result;
    else if (role == "cache")
      caches.push_back(result);
  }
  begin("choose");
  Value chosen = buildChoice(logits);
  begin("advance");
  SmallVector<Value> results = buildAdvance(fed[0], chosen);
  llvm::append_range(results, caches);
  func::ReturnOp::create(b, results);
}

namespace {
struct DecodeStepPass : moe::impl::DecodeStepPassBase<DecodeStepPass> {
  using DecodeStepPassBase::DecodeStepPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (fanIn < 2) {
      module.emitError("expected a fan-in of at least 2, got ") << fanIn.getValue();
      return signalPassFailure();
    }
    auto model = module->getAttrOfType<DictionaryAttr>(MoEDialect::kLanguageModelAttr);
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!model || module.lookupSymbol(kName) || !canStep(forward))
      return;
    auto eos = model.getAs<DenseI32ArrayAttr>("eos");
    Step(forward, eos ? eos.asArrayRef() : ArrayRef<int32_t>(), fanIn).build();
  }
};
} // namespace
