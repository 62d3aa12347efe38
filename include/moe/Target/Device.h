//===- Device.h - Code for the device ---------------------------*- C++ -*-===//
//
// Turns the device module of a program into the image that the runtime loads: PTX, or a shared library for the host
// that stands in for a device.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_DEVICE_H
#define MOE_TARGET_DEVICE_H

#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Target/Translate.h"

namespace mlir::moe {

/// The facts of `chip`: one of NVIDIA's, or "host".
llvm::Expected<GPUTargetAttr> resolveGPUTarget(MLIRContext *context, llvm::StringRef chip, int64_t maxTokens);

/// Where images are made that need other programs: names of files that may be written.
struct DeviceScratch {
  std::string object;   ///< an object file, or PTX
  std::string image;    ///< what is made of it
  std::string messages; ///< what the other program says
};

/// Translates and optimises the `gpu.module` of `module`, which is erased, and describes it. `machine` is the host's.
/// The image is PTX with its terminating zero, or for the chip "host" a shared library.
llvm::Expected<DeviceFacts> compileDevice(ModuleOp module, llvm::TargetMachine &machine, const DeviceScratch &scratch);

/// The machine code of `device`, whose image is PTX, by `ptxas`.
llvm::Expected<std::string> assembleDevice(const DeviceFacts &device, const DeviceScratch &scratch);

} // namespace mlir::moe

#endif // MOE_TARGET_DEVICE_H
