//===- ProgramInfo.cpp - The description of a program ---------------------===//
//
// Builds the constant `moe_program` field by field, and the entry points it refers to.
//
//===----------------------------------------------------------------------===//

#include "ProgramInfo.h"

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Runtime/Program.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
class Emitter {
public:
  Emitter(ModuleOp module, llvm::Module &program, const ProgramFacts &facts)
      : module(module), program(program), facts(facts), context(program.getContext()),
        pointer(llvm::PointerType::getUnqual(context)), i32(llvm::Type::getInt32Ty(context)),
        i64(llvm::Type::getInt64Ty(context)) {}

  LogicalResult emit();

private:
  llvm::Constant *number32(uint64_t value) { return llvm::ConstantInt::get(i32, value); }
  llvm::Constant *number64(uint64_t value) { return llvm::ConstantInt::get(i64, value); }
  llvm::Constant *null() { return llvm::ConstantPointerNull::get(pointer); }
  llvm::Constant *record(ArrayRef<llvm::Constant *> fields) {
    return llvm::ConstantStruct::getAnon(context, fields);
  }
  llvm::Constant *text(StringRef value);
  llvm::Constant *array(ArrayRef<llvm::Constant *> elements);
  llvm::Constant *numbers(ArrayRef<int32_t> values);
  llvm::Constant *extents(ArrayRef<int64_t> shape, ArrayRef<int64_t> equal = {});
  llvm::Constant *buildValue(DictionaryAttr value);
  llvm::Constant *buildFunction(LLVM::LLVMFuncOp function, DictionaryAttr signature);
  llvm::Function *buildEntry(StringRef name, ArrayAttr inputs, ArrayAttr outputs);
  llvm::Constant *buildParameters();
  llvm::Constant *buildDevice();

  ModuleOp module;
  llvm::Module &program;
  const ProgramFacts &facts;
  llvm::LLVMContext &context;
  llvm::PointerType *pointer;
  llvm::IntegerType *i32, *i64;
  bool failedToDescribe = false;
};
} // namespace

static Type getType(Attribute value) {
  return cast<DictionaryAttr>(value).getAs<TypeAttr>("type").getValue();
}

static int64_t getRank(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return shaped ? shaped.getRank() : 0;
}

/// The moe_element_type, or nothing if the runtime has no such type.
static std::optional<uint32_t> getElementType(Type type) {
  type = getElementTypeOrSelf(type);
  if (type.isIndex() || type.isInteger(64))
    return MOE_I64;
  if (type.isInteger(32))
    return MOE_I32;
  if (type.isInteger(8))
    return type.isUnsignedInteger() ? MOE_U8 : MOE_I8;
  if (type.isInteger(1))
    return MOE_BOOL;
  if (type.isF32())
    return MOE_F32;
  if (type.isF64())
    return MOE_F64;
  if (type.isF16())
    return MOE_F16;
  if (type.isBF16())
    return MOE_BF16;
  return std::nullopt;
}

static uint32_t getRole(StringRef role) {
  static constexpr std::pair<StringLiteral, moe_role> kRoles[] = {
      {"parameters", MOE_ROLE_PARAMETERS}, {"tokens", MOE_ROLE_TOKENS},       {"positions", MOE_ROLE_POSITIONS},
      {"sequences", MOE_ROLE_SEQUENCES},   {"first_row", MOE_ROLE_FIRST_ROW}, {"cache", MOE_ROLE_CACHE},
      {"logits", MOE_ROLE_LOGITS},         {"stop", MOE_ROLE_STOP}};
  for (auto [name, value] : kRoles)
    if (role == name)
      return value;
  return MOE_ROLE_DATA;
}

llvm::Constant *Emitter::text(StringRef value) {
  llvm::Constant *data = llvm::ConstantDataArray::getString(context, value);
  auto *global = new llvm::GlobalVariable(program, data->getType(), /*isConstant=*/true,
                                          llvm::GlobalValue::PrivateLinkage, data, "moe_text");
  global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
  return global;
}

/// A table of `elements`, which have one type; null if there are none.
llvm::Constant *Emitter::array(ArrayRef<llvm::Constant *> elements) {
  if (elements.empty())
    return null();
  auto *type = llvm::ArrayType::get(elements.front()->getType(), elements.size());
  return new llvm::GlobalVariable(program, type, /*isConstant=*/true, llvm::GlobalValue::PrivateLinkage,
                                  llvm::ConstantArray::get(type, elements), "moe_table");
}

llvm::Constant *Emitter::numbers(ArrayRef<int32_t> values) {
  return array(llvm::map_to_vector(values, [&](int32_t value) { return number32(static_cast<uint32_t>(value)); }));
}

/// int64_t shape[MOE_MAX_RANK].
llvm::Constant *Emitter::extents(ArrayRef<int64_t> shape, ArrayRef<int64_t> equal) {
  SmallVector<uint64_t, MOE_MAX_RANK> values(MOE_MAX_RANK, 0);
  for (auto [i, extent] : llvm::enumerate(shape))
    values[i] = static_cast<uint64_t>(!ShapedType::isDynamic(extent) ? extent
                                      : i < equal.size()             ? MOE_DYNAMIC - equal[i]
                                                                     : MOE_DYNAMIC);
  return llvm::ConstantDataArray::get(context, ArrayRef<uint64_t>(values));
}

/// moe_value_info.
llvm::Constant *Emitter::buildValue(DictionaryAttr value) {
  Type type = getType(value);
  std::optional<uint32_t> element = getElementType(type);
  if (!element) {
    module.emitError("no program can take or give ") << type << " ('" << value.getAs<StringAttr>("name").getValue()
                                                     << "')";
    failedToDescribe = true;
    element = MOE_F32;
  }
  auto shaped = dyn_cast<ShapedType>(type);
  auto window = value.getAs<IntegerAttr>("window");
  auto equal = value.getAs<DenseI64ArrayAttr>("extents");
  return record({text(value.getAs<StringAttr>("name")), number32(*element),
                 number32(getRole(value.getAs<StringAttr>("role"))), number32(getRank(type)),
                 number32(type.isIndex()),
                 extents(shaped ? shaped.getShape() : ArrayRef<int64_t>(),
                         equal ? equal.asArrayRef() : ArrayRef<int64_t>()),
                 number64(window ? window.getInt() : 0)});
}

/// void entry(void **arguments): unpacks descriptors, calls the function, stores its results' descriptors.
llvm::Function *Emitter::buildEntry(StringRef name, ArrayAttr inputs, ArrayAttr outputs) {
  llvm::Function *callee = program.getFunction(name);
  auto *entry = llvm::Function::Create(
      llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer}, /*isVarArg=*/false),
      llvm::GlobalValue::InternalLinkage, "moe_entry." + name, program);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", entry));
  llvm::Value *list = entry->getArg(0);
  auto argument = [&](unsigned i) {
    return builder.CreateLoad(pointer, builder.CreateConstInBoundsGEP1_64(pointer, list, i));
  };
  // A descriptor is words: two pointers, then offset, sizes and strides.
  auto word = [&](llvm::Value *descriptor, unsigned i) { return builder.CreateConstInBoundsGEP1_64(i64, descriptor, i); };
  SmallVector<llvm::Value *> operands;
  for (auto [i, input] : llvm::enumerate(inputs)) {
    llvm::Value *source = argument(i);
    Type type = getType(input);
    unsigned words = type.isIndex() ? 1 : 3 + 2 * getRank(type);
    for (unsigned w = 0; w < words; ++w)
      operands.push_back(builder.CreateLoad(callee->getArg(operands.size())->getType(), word(source, w)));
  }
  llvm::Value *results = builder.CreateCall(callee, operands);
  for (auto [i, output] : llvm::enumerate(outputs)) {
    llvm::Value *target = argument(inputs.size() + i);
    llvm::Value *descriptor = outputs.size() == 1 ? results : builder.CreateExtractValue(results, i);
    unsigned rank = getRank(getType(output)), next = 0;
    for (unsigned field = 0; field < 3; ++field)
      builder.CreateStore(builder.CreateExtractValue(descriptor, field), word(target, next++));
    for (unsigned field = 3; field < (rank ? 5 : 3); ++field)
      for (unsigned d = 0; d < rank; ++d)
        builder.CreateStore(builder.CreateExtractValue(descriptor, {field, d}), word(target, next++));
  }
  builder.CreateRetVoid();
  return entry;
}

/// moe_function_info.
llvm::Constant *Emitter::buildFunction(LLVM::LLVMFuncOp function, DictionaryAttr signature) {
  auto inputs = signature.getAs<ArrayAttr>("inputs"), outputs = signature.getAs<ArrayAttr>("outputs");
  auto build = [&](Attribute value) { return buildValue(cast<DictionaryAttr>(value)); };
  auto summary = function->getAttrOfType<StringAttr>(MoEDialect::kSummaryAttr);
  return record({text(function.getName()), text(summary ? summary.getValue() : ""), number32(inputs.size()),
                 number32(outputs.size()), array(llvm::map_to_vector(inputs, build)),
                 array(llvm::map_to_vector(outputs, build)), buildEntry(function.getName(), inputs, outputs)});
}

/// moe_parameter_info for each.
llvm::Constant *Emitter::buildParameters() {
  SmallVector<llvm::Constant *> entries;
  for (const ParameterEntry &parameter : facts.parameters)
    entries.push_back(record({text(parameter.name), number32(getElementType(parameter.type).value_or(MOE_U8)),
                              number32(parameter.type.getRank()), extents(parameter.type.getShape()),
                              number64(parameter.offset), number64(parameter.size)}));
  return array(entries);
}

/// moe_device_info; null for a program without one.
llvm::Constant *Emitter::buildDevice() {
  if (!facts.device)
    return null();
  const DeviceFacts &device = *facts.device;
  SmallVector<llvm::Constant *> kernels;
  for (const KernelFacts &kernel : device.kernels)
    kernels.push_back(record({text(kernel.name), number32(kernel.parameters.size()), number32(kernel.threads),
                              number32(kernel.sharedBytes), number32(/*reserved=*/0)}));
  llvm::Constant *bytes = llvm::ConstantDataArray::getString(context, device.image, /*AddNull=*/false);
  auto *image = new llvm::GlobalVariable(program, bytes->getType(), /*isConstant=*/true,
                                         llvm::GlobalValue::PrivateLinkage, bytes, "moe_device_image");
  // The driver reads an ELF file in place.
  image->setAlignment(llvm::Align(64));
  llvm::Constant *info = record({number32(sizeof(moe_device_info)), number32(device.kernels.size()), text(device.chip),
                                 image, number64(device.image.size()), array(kernels), number64(device.maxTokens)});
  return new llvm::GlobalVariable(program, info->getType(), /*isConstant=*/true, llvm::GlobalValue::PrivateLinkage,
                                  info, "moe_device");
}

LogicalResult Emitter::emit() {
  SmallVector<llvm::Constant *> functions;
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    if (auto signature = function->getAttrOfType<DictionaryAttr>(MoEDialect::kSignatureAttr))
      functions.push_back(buildFunction(function, signature));
  if (functions.empty())
    return module.emitError("expected at least one public function");

  auto target = module->getAttrOfType<CPUTargetAttr>(MoEDialect::kTargetAttr);
  std::string features = target.getFeatures().str();
  llvm::erase(features, '+');
  auto model = module->getAttrOfType<DictionaryAttr>(MoEDialect::kLanguageModelAttr);
  auto get32 = [&](StringRef name) {
    auto values = model ? model.getAs<DenseI32ArrayAttr>(name) : DenseI32ArrayAttr();
    return values ? values.asArrayRef() : ArrayRef<int32_t>();
  };
  auto get64 = [&](StringRef name) -> uint64_t {
    auto value = model ? model.getAs<IntegerAttr>(name) : IntegerAttr();
    return value ? value.getInt() : 0;
  };
  ArrayRef<int32_t> eos = get32("eos"), layers = get32("moe_layers");
  llvm::Constant *info = record({
      number32(sizeof(moe_program_info)), number32(MOE_PROGRAM_VERSION),
      text(facts.compiler), text(target.getCpu()), text(features), text(facts.options),
      llvm::ConstantDataArray::get(context, ArrayRef<uint8_t>(facts.buildId)), number64(facts.weightsSize),
      number32(functions.size()), number32(facts.parameters.size()), array(functions), buildParameters(),
      number32(model != nullptr), number32(eos.size()), numbers(eos), number64(get64("vocabulary")),
      number64(get64("max_context")), number32(layers.size()), number32(0), numbers(layers), buildDevice()});
  new llvm::GlobalVariable(program, info->getType(), /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage, info,
                           "moe_program");
  return failure(failedToDescribe);
}

LogicalResult moe::emitProgramInfo(ModuleOp module, llvm::Module &program, const ProgramFacts &facts) {
  return Emitter(module, program, facts).emit();
}
