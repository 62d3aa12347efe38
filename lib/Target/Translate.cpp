//===- Translate.cpp - From the LLVM dialect to machine code --------------===//
//
// Translation, function attributes of the target, LLVM's optimiser and code generator.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/Translate.h"

#include "ProgramInfo.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/OpenMP/OpenMPToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Triple.h"

using namespace mlir;
using namespace mlir::moe;

static CPUTargetAttr getTarget(ModuleOp module) {
  return module->getAttrOfType<CPUTargetAttr>(MoEDialect::kTargetAttr);
}

std::unique_ptr<llvm::TargetMachine> moe::createTargetMachine(ModuleOp module) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  LLVMInitializeX86AsmPrinter();
  CPUTargetAttr target = getTarget(module);
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target || !backend) {
    module.emitError("expected a module with a 'moe.target' for x86-64");
    return nullptr;
  }
  llvm::TargetOptions options;
  // What is one fused multiply-add was decided long before.
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  // The features alone say what may be used: those of the CPU's name may be switched off in a virtual machine.
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, "x86-64", target.getFeatures(), options, llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

void moe::setTargetAttributes(llvm::Module &program, ModuleOp module) {
  CPUTargetAttr target = getTarget(module);
  for (llvm::Function &function : program) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", "x86-64");
    function.addFnAttr("tune-cpu", target.getCpu());
    function.addFnAttr("target-features", target.getFeatures());
    if (target.getVectorBits() == 512)
      function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

/// Only the description is for others; the rest belongs to this object.
static void hideSymbols(llvm::Module &module) {
  for (llvm::GlobalValue &value : module.global_values()) {
    if (value.isDeclaration() || value.hasLocalLinkage())
      continue;
    if (value.getName() == "moe_program")
      value.setVisibility(llvm::GlobalValue::HiddenVisibility);
    else if (!value.getName().starts_with("__kmpc") && !value.hasCommonLinkage())
      value.setLinkage(llvm::GlobalValue::InternalLinkage);
  }
}

static void dropOurAttributes(LLVM::LLVMFuncOp function) {
  for (StringRef name : {StringRef(MoEDialect::kNameAttr), StringRef(MoEDialect::kRoleAttr),
                         StringRef(MoEDialect::kWindowAttr), StringRef(MoEDialect::kExtentsAttr)}) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      function.removeArgAttr(i, StringAttr::get(function.getContext(), name));
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      function.removeResultAttr(i, StringAttr::get(function.getContext(), name));
  }
}

std::unique_ptr<llvm::Module> moe::translateProgram(ModuleOp module, const ProgramFacts &facts,
                                                    llvm::TargetMachine &machine, llvm::LLVMContext &context) {
  for (auto global : llvm::make_early_inc_range(module.getOps<ml_program::GlobalOp>()))
    global.erase();
  // Names and roles stand in the signature too, and mean nothing to LLVM.
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    dropOurAttributes(function);
  module->setAttr(LLVM::LLVMDialect::getDataLayoutAttrName(),
                  StringAttr::get(module.getContext(), machine.createDataLayout().getStringRepresentation()));
  registerBuiltinDialectTranslation(*module.getContext());
  registerLLVMDialectTranslation(*module.getContext());
  registerOpenMPDialectTranslation(*module.getContext());
  std::unique_ptr<llvm::Module> program = translateModuleToLLVMIR(module, context, "moe_program");
  if (!program)
    return nullptr;
  program->setTargetTriple(machine.getTargetTriple());
  program->setDataLayout(machine.createDataLayout());
  if (failed(emitProgramInfo(module, *program, facts)))
    return nullptr;
  setTargetAttributes(*program, module);
  hideSymbols(*program);
  return program;
}

void moe::optimizeProgram(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  // Loops that are worth it are vector code already, in an order that may not change.
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  // A thread of a GPU hides latency by its neighbours; short loops written out in full need more registers than it has.
  tuning.LoopUnrolling = !machine.getTargetTriple().isNVPTX();
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
}

llvm::Error moe::writeMachineCode(llvm::Module &module, llvm::TargetMachine &machine,
                                  llvm::raw_pwrite_stream &stream, bool assembly) {
  llvm::legacy::PassManager passes;
  auto kind = assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, kind))
    return llvm::createStringError("the code generator cannot write this kind of file");
  passes.run(module);
  return llvm::Error::success();
}
