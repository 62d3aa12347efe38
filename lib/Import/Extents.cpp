//===- Extents.cpp - Which extents of arguments are equal -----------------===//
//
// Classes of extents: every operation joins those that it takes to be equal.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Extents.h"

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// Of a value of type index, the number itself.
constexpr int64_t kNumber = -1;

class Extents {
public:
  explicit Extents(ModuleOp module) : symbols(module) {}

  /// Goes through a function, what it calls first.
  void visit(func::FuncOp function);

  /// Numbers from 1 for classes that hold several dynamic extents of arguments.
  SmallVector<SmallVector<int64_t>> getClasses(func::FuncOp function);

private:
  /// The extent `dimension` of a value, or a loop of an operation.
  unsigned getNode(const void *owner, int64_t dimension) {
    auto [entry, isNew] = nodes.try_emplace({owner, dimension}, nodes.size());
    if (isNew)
      classes.grow(nodes.size());
    return entry->second;
  }
  unsigned getNode(Value value, int64_t dimension) {
    return getNode(value.getAsOpaquePointer(), dimension);
  }
  void join(Value one, int64_t dimension, Value other, int64_t otherDimension) {
    classes.join(getNode(one, dimension), getNode(other, otherDimension));
  }

  /// All extents of values of one rank; others are passed over.
  void joinShapes(ValueRange values) {
    for (Value value : values.drop_front())
      if (getRank(value) == getRank(values.front()))
        for (int64_t i = 0; i < getRank(value); ++i)
          join(value, i, values.front(), i);
  }
  /// The first extents: rows, or the tokens of a routing.
  void joinRows(ValueRange values) {
    for (Value value : values.drop_front())
      join(value, 0, values.front(), 0);
  }
  /// Extents of a result that are given as numbers.
  void joinSizes(Value value, ArrayRef<OpFoldResult> sizes) {
    if (getRank(value) == static_cast<int64_t>(sizes.size()))
      for (auto [i, size] : llvm::enumerate(sizes))
        if (auto number = dyn_cast<Value>(size))
          join(value, i, number, kNumber);
  }
  static int64_t getRank(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return type ? type.getRank() : 0;
  }

  void visit(Operation &op);
  void visitTensor(Operation &op);
  void visitRouting(Operation &op);
  void visitLinalg(linalg::LinalgOp op);
  void visitSelect(SelectOp op);
  void visitCall(func::CallOp call);

  SymbolTable symbols;
  llvm::DenseMap<std::pair<const void *, int64_t>, unsigned> nodes;
  llvm::IntEqClasses classes;
  llvm::DenseSet<Operation *> seen;
};

} // namespace

void Extents::visitLinalg(linalg::LinalgOp op) {
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [i, expression] : llvm::enumerate(map.getResults()))
      if (auto loop = dyn_cast<AffineDimExpr>(expression))
        classes.join(getNode(operand.get(), i),
                     getNode(op.getOperation(), loop.getPosition()));
  }
  for (auto [init, result] :
       llvm::zip_equal(op.getDpsInits(), op->getResults()))
    joinShapes({init, result});
}

void Extents::visitSelect(SelectOp op) {
  joinRows({op.getLogits(), op.getRouting()});
  if (Value weigh = op.getWeigh())
    joinShapes({op.getLogits(), weigh});
  if (!op.getParameterNames())
    return;
  auto logits = cast<RankedTensorType>(op.getLogits().getType());
  for (const PolicyParameter &wanted :
       op.getPolicy().getParameters(logits.getDimSize(1)))
    for (auto [name, value] :
         llvm::zip(op.getParameterNames()->getAsValueRange<StringAttr>(),
                   op.getParameters()))
      if (name == wanted.name &&
          wanted.shape.front() == PolicyParameter::kTokens)
        joinRows({op.getLogits(), value});
}

void Extents::visitRouting(Operation &operation) {
  TypeSwitch<Operation *>(&operation)
      .Case([&](SelectOp op) { visitSelect(op); })
      .Case([&](LimitOp op) {
        joinRows({op.getRouting(), op.getLimited()});
        if (Value groups = op.getGroups())
          joinRows({op.getRouting(), groups});
      })
      .Case([&](ReweighOp op) {
        joinRows({op.getRouting(), op.getReweighed()});
      })
      .Case([&](SpreadOp op) {
        joinRows({op.getRows(), op.getSpread()});
      })
      .Case<MakeRoutingOp, RoutingPartsOp>([&](auto op) {
        joinRows({op.getRouting(), op.getIds(), op.getWeights()});
      })
      .Case([&](ExpertsOp op) {
        joinRows({op.getRouting(), op.getResult()});
        for (Value rows : op.getRows())
          joinRows({op.getRouting(), rows});
        for (auto [before, after] :
             llvm::zip_equal(op.getState(), op.getNewState()))
          joinShapes({before, after});
      })
      .Case([&](GatherOp op) {
        joinRows({op.getIndices(), op.getInit(), op.getResult()});
      })
      .Case([&](GroupedMatmulOp op) {
        Value indices = op.getIndices(), rows = op.getRows();
        joinRows({op.getInit(), op.getResult(), indices ? indices : rows});
      })
      .Case([&](CombineOp op) {
        joinRows({op.getInit(), op.getResult(), op.getSlots()});
        joinShapes({op.getSlots(), op.getWeights()});
      })
      .Default([&](Operation *) { visitTensor(operation); });
}

void Extents::visitTensor(Operation &operation) {
  TypeSwitch<Operation *>(&operation)
      .Case([&](tensor::DimOp op) {
        if (std::optional<int64_t> index = op.getConstantIndex())
          join(op.getResult(), kNumber, op.getSource(), *index);
      })
      .Case([&](tensor::EmptyOp op) {
        joinSizes(op.getResult(), op.getMixedSizes());
      })
      .Case([&](tensor::ExtractSliceOp op) {
        joinSizes(op.getResult(), op.getMixedSizes());
      })
      .Case([&](tensor::ExpandShapeOp op) {
        joinSizes(op.getResult(), op.getMixedOutputShape());
        for (auto [i, group] : llvm::enumerate(op.getReassociationIndices()))
          if (group.size() == 1)
            join(op.getSrc(), i, op.getResult(), group.front());
      })
      .Case([&](tensor::CollapseShapeOp op) {
        for (auto [i, group] : llvm::enumerate(op.getReassociationIndices()))
          if (group.size() == 1)
            join(op.getSrc(), group.front(), op.getResult(), i);
      })
      .Case([&](tensor::InsertSliceOp op) {
        joinShapes({op.getDest(), op.getResult()});
      })
      .Case([&](tensor::CastOp op) {
        joinShapes({op.getSource(), op.getDest()});
      })
      .Default([&](Operation *op) {
        if (!op->hasTrait<OpTrait::Elementwise>())
          return;
        SmallVector<Value> values(op->getResults());
        llvm::append_range(values, op->getOperands());
        joinShapes(values);
      });
}

/// Each call has classes of its own, so that a function may be called for
/// several numbers of rows.
void Extents::visitCall(func::CallOp call) {
  auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
  if (!callee || callee.isExternal())
    return;
  visit(callee);
  auto leave = dyn_cast<func::ReturnOp>(callee.front().getTerminator());
  if (!leave)
    return;
  SmallVector<Value> inside(callee.getArguments()), outside(call.getOperands());
  llvm::append_range(inside, leave.getOperands());
  llvm::append_range(outside, call.getResults());
  llvm::DenseMap<unsigned, unsigned> first;
  for (auto [in, out] : llvm::zip_equal(inside, outside)) {
    // A routing has its tokens, a number itself.
    int64_t rank = isa<RoutingType>(in.getType()) ? 1 : getRank(in);
    for (int64_t i = in.getType().isIndex() ? kNumber : 0; i < rank; ++i) {
      unsigned node = getNode(out, i);
      unsigned leader = classes.findLeader(getNode(in, i));
      auto [entry, isNew] = first.try_emplace(leader, node);
      if (!isNew)
        classes.join(entry->second, node);
      if (i == kNumber)
        break;
    }
  }
}

void Extents::visit(Operation &operation) {
  if (auto call = dyn_cast<func::CallOp>(operation))
    return visitCall(call);
  if (auto op = dyn_cast<linalg::LinalgOp>(operation))
    return visitLinalg(op);
  visitRouting(operation);
}

void Extents::visit(func::FuncOp function) {
  if (!seen.insert(function).second || function.isExternal())
    return;
  for (Operation &op : function.front())
    visit(op);
}

SmallVector<SmallVector<int64_t>> Extents::getClasses(func::FuncOp function) {
  llvm::DenseMap<unsigned, unsigned> counts, numbers;
  auto forEach =
      [&](llvm::function_ref<void(unsigned, unsigned, unsigned)> body) {
        for (BlockArgument argument : function.getArguments()) {
          SmallVector<int64_t> shape;
          if (auto routing = dyn_cast<RoutingType>(argument.getType()))
            shape = {routing.getTokens()};
          else if (auto type = dyn_cast<RankedTensorType>(argument.getType()))
            shape.assign(type.getShape().begin(), type.getShape().end());
          for (auto [i, extent] : llvm::enumerate(shape))
            if (ShapedType::isDynamic(extent))
              body(argument.getArgNumber(), i,
                   classes.findLeader(getNode(argument, i)));
        }
      };
  // Both parts of a routing have its tokens: they are equal to one another.
  forEach([&](unsigned argument, unsigned, unsigned leader) {
    counts[leader] +=
        isa<RoutingType>(function.getArgument(argument).getType()) ? 2 : 1;
  });
  SmallVector<SmallVector<int64_t>> result(function.getNumArguments());
  forEach([&](unsigned argument, unsigned dimension, unsigned leader) {
    result[argument].resize(dimension + 1);
    if (counts[leader] > 1)
      result[argument][dimension] =
          numbers.try_emplace(leader, numbers.size() + 1).first->second;
  });
  return result;
}

void mlir::moe::recordEqualExtents(ModuleOp module) {
  Extents extents(module);
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPublic() || function.isExternal())
      continue;
    extents.visit(function);
    for (auto [i, numbers] : llvm::enumerate(extents.getClasses(function)))
      if (llvm::any_of(numbers, [](int64_t number) { return number != 0; }))
        function.setArgAttr(
            i, MoEDialect::kExtentsAttr,
            DenseI64ArrayAttr::get(module.getContext(), numbers));
  }
}
