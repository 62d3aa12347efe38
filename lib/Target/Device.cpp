//===- Device.cpp - Code for the device -----------------------------------===//
//
// LLVM's NVPTX back end makes PTX without any of NVIDIA's programs; ptxas is needed for machine code only.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Device.h"

#include "RunTool.h"
#include "moe/Target/Link.h"
#include "moe/Target/OutputFiles.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/Constants.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace mlir::moe;

namespace {
/// A chip and the version of PTX that knows it.
struct Chip {
  llvm::StringLiteral name, features;
};
} // namespace

static constexpr Chip kChips[] = {
    {"sm_80", "+ptx80"}, {"sm_90", "+ptx80"}, {"sm_90a", "+ptx80"}, {"sm_100", "+ptx86"}, {"sm_100a", "+ptx86"},
};
static constexpr llvm::StringLiteral kHost = "host";

llvm::Expected<GPUTargetAttr> moe::resolveGPUTarget(MLIRContext *context, llvm::StringRef chip, int64_t maxTokens) {
  bool known = chip == kHost || llvm::any_of(kChips, [&](const Chip &entry) { return entry.name == chip; });
  if (!known) {
    std::string names;
    for (const Chip &entry : kChips)
      names += entry.name.str() + ", ";
    return llvm::createStringError("unknown chip '" + chip.take_front(80) + "' in --chip, expected one of " + names +
                                   kHost);
  }
  if (maxTokens < 1 || maxTokens > INT32_MAX)
    return llvm::createStringError("expected --max-tokens to be from 1 to 2147483647, got " + llvm::Twine(maxTokens));
  return GPUTargetAttr::get(context, chip, maxTokens);
}

static llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createDeviceMachine(llvm::StringRef chip) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, error);
  const Chip *entry = llvm::find_if(kChips, [&](const Chip &entry) { return entry.name == chip; });
  if (!backend || entry == std::end(kChips))
    return llvm::createStringError("cannot make code for '" + chip + "': " + error);
  llvm::TargetOptions options;
  // What is one fused multiply-add was decided long before.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, chip, entry->features, options, std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

/// The kernels of `device`, in the order of their numbers.
static std::vector<KernelFacts> describeKernels(gpu::GPUModuleOp device) {
  std::vector<KernelFacts> kernels;
  for (auto function : device.getOps<LLVM::LLVMFuncOp>()) {
    auto parameters = function->getAttrOfType<DenseI32ArrayAttr>(MoEDialect::kParametersAttr);
    auto threads = function->getAttrOfType<DenseI32ArrayAttr>(NVVM::NVVMDialect::getMaxntidAttrName());
    if (!parameters || !threads)
      continue;
    auto sharedBytes = function->getAttrOfType<IntegerAttr>(MoEDialect::kSharedBytesAttr);
    ArrayRef<int32_t> sizes = parameters.asArrayRef();
    kernels.push_back({function.getName().str(), std::vector<uint32_t>(sizes.begin(), sizes.end()),
                       static_cast<uint32_t>(threads[0]), sharedBytes ? static_cast<uint32_t>(sharedBytes.getInt()) : 0});
    function->removeAttr(MoEDialect::kParametersAttr);
    function->removeAttr(MoEDialect::kSharedBytesAttr);
  }
  return kernels;
}

static std::unique_ptr<llvm::Module> translateDevice(gpu::GPUModuleOp device, llvm::TargetMachine &machine,
                                                     llvm::LLVMContext &context) {
  registerBuiltinDialectTranslation(*device.getContext());
  registerGPUDialectTranslation(*device.getContext());
  registerLLVMDialectTranslation(*device.getContext());
  registerNVVMDialectTranslation(*device.getContext());
  std::unique_ptr<llvm::Module> program = translateModuleToLLVMIR(device, context, "device");
  if (!program)
    return nullptr;
  program->setTargetTriple(machine.getTargetTriple());
  program->setDataLayout(machine.createDataLayout());
  return program;
}

/// Beside each kernel for the stand-in driver, how many parameters it has and their sizes: `uint32_t NAME_parameters[]`.
static void addParameterSizes(llvm::Module &program, ArrayRef<KernelFacts> kernels) {
  for (const KernelFacts &kernel : kernels) {
    std::vector<uint32_t> numbers = {static_cast<uint32_t>(kernel.parameters.size())};
    llvm::append_range(numbers, kernel.parameters);
    llvm::Constant *values = llvm::ConstantDataArray::get(program.getContext(), numbers);
    new llvm::GlobalVariable(program, values->getType(), /*isConstant=*/true, llvm::GlobalValue::ExternalLinkage, values,
                             kernel.name + "_parameters");
  }
}

static llvm::Expected<std::string> readImage(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError("cannot read '" + path + "': " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

static llvm::Expected<std::string> buildHostImage(llvm::Module &program, llvm::TargetMachine &machine,
                                                  const DeviceScratch &scratch) {
  if (llvm::Error error = writeFile(scratch.object, [&](llvm::raw_pwrite_stream &stream) {
        return writeMachineCode(program, machine, stream, /*assembly=*/false);
      }))
    return error;
  LinkOptions link;
  link.object = scratch.object;
  link.output = scratch.image;
  link.scratch = scratch.messages;
  if (llvm::Error error = linkImage(link))
    return error;
  return readImage(scratch.image);
}

/// PTX, which ends with a zero.
static llvm::Expected<std::string> buildPTX(llvm::Module &program, llvm::TargetMachine &machine) {
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream stream(text);
  if (llvm::Error error = writeMachineCode(program, machine, stream, /*assembly=*/true))
    return error;
  text.push_back('\0');
  return text.str().str();
}

llvm::Expected<DeviceFacts> moe::compileDevice(ModuleOp module, llvm::TargetMachine &machine,
                                                    const DeviceScratch &scratch) {
  auto target = module->getAttrOfType<GPUTargetAttr>(MoEDialect::kDeviceAttr);
  auto devices = module.getOps<gpu::GPUModuleOp>();
  if (!target || !llvm::hasSingleElement(devices))
    return llvm::createStringError("expected a program with one device module");
  gpu::GPUModuleOp device = *devices.begin();
  DeviceFacts facts;
  facts.chip = target.getChip().str();
  facts.maxTokens = target.getMaxTokens();
  facts.kernels = describeKernels(device);

  // The machine of a chip; the host's own stands in for one.
  std::unique_ptr<llvm::TargetMachine> deviceMachine;
  if (target.getChip() != kHost) {
    auto created = createDeviceMachine(target.getChip());
    if (!created)
      return created.takeError();
    deviceMachine = std::move(*created);
  }
  llvm::TargetMachine &used = deviceMachine ? *deviceMachine : machine;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> program = translateDevice(device, used, context);
  // The diagnostics have said what is wrong.
  if (!program)
    return llvm::createStringError("");
  device.erase();
  if (!deviceMachine) {
    setTargetAttributes(*program, module);
    addParameterSizes(*program, facts.kernels);
  }
  optimizeProgram(*program, used);
  auto image = deviceMachine ? buildPTX(*program, used) : buildHostImage(*program, used, scratch);
  if (!image)
    return image.takeError();
  facts.image = std::move(*image);
  return facts;
}

static llvm::Expected<std::string> findPtxas() {
  if (auto path = llvm::sys::findProgramByName("ptxas"))
    return *path;
  if (auto path = llvm::sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"}))
    return *path;
  return llvm::createStringError("no ptxas to assemble with: expected it on PATH or in /usr/local/cuda/bin "
                                 "(--emit=ptx needs none)");
}

llvm::Expected<std::string> moe::assembleDevice(const DeviceFacts &device, const DeviceScratch &scratch) {
  llvm::Expected<std::string> ptxas = findPtxas();
  if (!ptxas)
    return ptxas.takeError();
  llvm::StringRef text(device.image);
  if (llvm::Error error = writeFile(scratch.object, [&](llvm::raw_pwrite_stream &stream) {
        stream << text.drop_back();
        return llvm::Error::success();
      }))
    return error;
  std::string chip = "-arch=" + device.chip;
  if (llvm::Error error = runTool(*ptxas, {*ptxas, chip, "-o", scratch.image, scratch.object}, scratch.messages))
    return error;
  return readImage(scratch.image);
}
