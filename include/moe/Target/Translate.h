//===- Translate.h - From the LLVM dialect to files -------------*- C++ -*-===//
//
// Translates a module at the end of stage cpu to LLVM IR, describes it to the runtime, optimises and writes it.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_TRANSLATE_H
#define MOE_TARGET_TRANSLATE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlir::moe {

/// One tensor of the weights file, as the runtime is told.
struct ParameterEntry {
  std::string name;
  RankedTensorType type;
  uint64_t offset = 0;
  uint64_t size = 0;
};

/// One kernel of a program for a device.
struct KernelFacts {
  std::string name;
  std::vector<uint32_t> parameters; ///< their sizes in bytes
  uint32_t threads = 0; ///< of a block
  uint32_t sharedBytes = 0; ///< dynamic shared memory of a block
};

/// The part of a program that runs on a device.
struct DeviceFacts {
  std::string chip;
  std::string image; ///< PTX with its terminating zero, or an ELF file
  std::vector<KernelFacts> kernels;
  int64_t maxTokens = 0;
};

/// What the description of a program says besides its functions.
struct ProgramFacts {
  std::string compiler; ///< name and versions
  std::string options;  ///< those that shaped the code
  std::array<uint8_t, 16> buildId{};
  uint64_t weightsSize = 0;
  std::vector<ParameterEntry> parameters;
  std::optional<DeviceFacts> device; ///< nothing: a program for the CPU
};

/// The machine of the module's `moe.target`, which must be there.
std::unique_ptr<llvm::TargetMachine> createTargetMachine(ModuleOp module);

/// The module as LLVM IR, with entry points for its public functions and the description `moe_program`; null, with
/// diagnostics, on failure. Operations without code (globals of weights) are erased from `module`.
std::unique_ptr<llvm::Module> translateProgram(ModuleOp module, const ProgramFacts &facts,
                                               llvm::TargetMachine &machine, llvm::LLVMContext &context);

/// Says in each function of `program` which CPU it is for: that of the `moe.target` of `module`.
void setTargetAttributes(llvm::Module &program, ModuleOp module);

/// Runs LLVM's own passes at -O3, without any that change the order of arithmetic.
void optimizeProgram(llvm::Module &module, llvm::TargetMachine &machine);

/// Writes the module as an object file, or as assembly.
llvm::Error writeMachineCode(llvm::Module &module, llvm::TargetMachine &machine, llvm::raw_pwrite_stream &stream,
                             bool assembly);

} // namespace mlir::moe

#endif // MOE_TARGET_TRANSLATE_H
