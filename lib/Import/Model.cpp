//===- Model.cpp - The module under construction --------------------------===//
//
// Makes globals with recipes out of tensor names, and functions whose arguments
// are weights.
//
//===----------------------------------------------------------------------===//

#include "Model.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Import/Text.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::moe;
using llvm::Twine;

namespace {
/// Cut where no tensor of a model has so many dimensions.
std::string toText(ArrayRef<int64_t> shape) {
  constexpr size_t kMaxShown = 8;
  std::string text = "[";
  llvm::raw_string_ostream os(text);
  llvm::interleaveComma(shape.take_front(kMaxShown), os);
  os << (shape.size() > kMaxShown ? ", ...]" : "]");
  return text;
}
} // namespace

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

void Model::fail(const Twine &message) {
  if (firstError.empty())
    firstError = (checkpoint.getPath() + ": " + message).str();
}

SourceAttr Model::getSource(StringRef name, ArrayRef<int64_t> shape) {
  MLIRContext *context = getContext();
  const StoredTensor *tensor = checkpoint.lookup(name);
  if (!tensor) {
    fail("no tensor " + quoted(name) + "; expected one of shape " +
         toText(shape));
  } else if (ArrayRef<int64_t>(tensor->shape) != shape) {
    fail("tensor " + quoted(name) + ": expected shape " + toText(shape) +
         ", as config.json says, got " + toText(tensor->shape));
  } else {
    RankedTensorType type = tensor->getType(context);
    if (isa<Float32Type, Float16Type, BFloat16Type>(type.getElementType()))
      return SourceAttr::get(context, name, type);
    fail("tensor " + quoted(name) + ": expected F32, F16 or BF16, got " +
         tensor->type);
  }
  // Something that the blocks can go on with; the module is thrown away.
  return SourceAttr::get(
      context, name, RankedTensorType::get(shape, Float32Type::get(context)));
}

void Model::addGlobal(StringRef name, Type type, Attribute recipe) {
  globals.try_emplace(name, type);
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  // Weights stand before the functions.
  for (Operation &op : *module.getBody())
    if (isa<func::FuncOp>(op)) {
      builder.setInsertionPoint(&op);
      break;
    }
  ml_program::GlobalOp::create(
      builder, NameLoc::get(builder.getStringAttr(name)), name, type,
      /*is_mutable=*/false, recipe, builder.getStringAttr("private"));
}

RecipeAttrInterface Model::getRecipe(const Weight &weight,
                                     ArrayRef<int64_t> shape) {
  RecipeAttrInterface recipe =
      weight.recipe ? weight.recipe(*this) : getSource(weight.name, shape);
  if (failed()) // the module is thrown away
    return SourceAttr::get(
        getContext(), weight.name,
        RankedTensorType::get(shape, Float32Type::get(getContext())));
  assert(recipe.getTensorType().getShape() == shape &&
         "an architecture's recipe makes the shape that its block expects");
  return recipe;
}

Type Model::getWeight(const Weight &weight, ArrayRef<int64_t> shape) {
  auto known = dyn_cast_or_null<RankedTensorType>(globals.lookup(weight.name));
  if (known && known.getShape() == shape)
    return known;
  RecipeAttrInterface recipe = getRecipe(weight, shape);
  if (!failed())
    addGlobal(weight.name, recipe.getTensorType(), recipe);
  return recipe.getTensorType();
}

Type Model::getBank(const Weight &bank, ArrayRef<int64_t> shape) {
  RecipeAttrInterface recipe = getRecipe(bank, shape);
  Type type = BankType::get(getContext(), recipe.getTensorType());
  if (!failed())
    addGlobal(bank.name, type, BankRecipeAttr::get(getContext(), recipe));
  return type;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

FunctionScope::FunctionScope(Model &model, StringRef name, bool isPublic,
                             bool loadsWeights, StringRef prefix)
    : builder(
          NameLoc::get(StringAttr::get(model.getModule().getContext(), name)),
          model.getModule().getContext()),
      model(model), loadsWeights(loadsWeights), prefix(prefix) {
  builder.setInsertionPointToEnd(model.getModule().getBody());
  function =
      func::FuncOp::create(builder, name, builder.getFunctionType({}, {}));
  if (!isPublic)
    function.setPrivate();
  builder.setInsertionPointToEnd(function.addEntryBlock());
}

Value FunctionScope::addArgument(Type type, StringRef name, StringRef role,
                                 ArrayRef<NamedAttribute> more) {
  NamedAttrList attributes(more);
  attributes.append(MoEDialect::kNameAttr, builder.getStringAttr(name));
  if (!role.empty())
    attributes.append(MoEDialect::kRoleAttr, builder.getStringAttr(role));
  argumentAttributes.push_back(attributes.getDictionary(builder.getContext()));
  return function.getBody().addArgument(
      type, NameLoc::get(builder.getStringAttr(name)));
}

Value FunctionScope::load(StringRef name, Type type) {
  Value &value = weights[name];
  if (!value)
    value = ml_program::GlobalLoadConstOp::create(
        builder, type, FlatSymbolRefAttr::get(builder.getContext(), name));
  return value;
}

Value FunctionScope::use(StringRef name, Type type) {
  if (loadsWeights)
    return load(name, type);
  Value &value = weights[name];
  if (!value) {
    StringRef shortName = name;
    shortName.consume_front(prefix);
    value = addArgument(type, shortName);
    usedWeights.emplace_back(name.str(), type);
  }
  return value;
}

Value FunctionScope::getWeight(const Weight &weight, ArrayRef<int64_t> shape) {
  return use(weight.name, model.getWeight(weight, shape));
}

Value FunctionScope::getBank(const Weight &bank, ArrayRef<int64_t> shape) {
  return use(bank.name, model.getBank(bank, shape));
}

void FunctionScope::finish(ArrayRef<Result> results) {
  SmallVector<Value> values;
  SmallVector<Type> types;
  SmallVector<Attribute> attributes;
  for (const Result &result : results) {
    NamedAttrList list;
    list.append(MoEDialect::kNameAttr, builder.getStringAttr(result.name));
    if (!result.role.empty())
      list.append(MoEDialect::kRoleAttr, builder.getStringAttr(result.role));
    attributes.push_back(list.getDictionary(builder.getContext()));
    values.push_back(result.value);
    types.push_back(result.value.getType());
  }
  func::ReturnOp::create(builder, values);
  function.setType(
      builder.getFunctionType(function.getBody().getArgumentTypes(), types));
  function.setArgAttrsAttr(builder.getArrayAttr(argumentAttributes));
  function.setResAttrsAttr(builder.getArrayAttr(attributes));
}

FunctionScope::Block::Block(FunctionScope &scope, StringRef name)
    : scope(scope), outer(scope.builder.getLoc()) {
  scope.builder.setLoc(NameLoc::get(scope.builder.getStringAttr(name), outer));
}
