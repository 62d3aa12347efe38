//===- Header.cpp - The C header of a shared library ----------------------===//
//
// A comment about the program at hand, then the runtime's own headers in one file.
//
//===----------------------------------------------------------------------===//

#include "Header.h"

#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::moe;

// Texts of include/moe/Runtime/Program.h and Runtime.h, made by CMake.
static const char kProgramHeader[] =
#include "ProgramHeader.inc"
    ;
static const char kRuntimeHeader[] =
#include "RuntimeHeader.inc"
    ;

static void describeValues(llvm::raw_ostream &os, StringRef title, ArrayAttr values) {
  for (Attribute attribute : values) {
    auto value = cast<DictionaryAttr>(attribute);
    os << " *   " << title << " \"" << value.getAs<StringAttr>("name").getValue() << "\" "
       << value.getAs<TypeAttr>("type").getValue() << " (" << value.getAs<StringAttr>("role").getValue() << ")\n";
  }
}

llvm::Error writeHeader(OutputFiles &outputs, StringRef library, ModuleOp module, const ProgramFacts &facts) {
  llvm::SmallString<128> path(library);
  llvm::sys::path::replace_extension(path, "h");
  llvm::Expected<std::string> temporary = outputs.add(path);
  if (!temporary)
    return temporary.takeError();
  return writeFile(*temporary, [&](llvm::raw_pwrite_stream &os) {
    os << "/* " << llvm::sys::path::filename(library) << ", made by " << facts.compiler << " with " << facts.options
       << ".\n *\n * Functions of the program, for moe_session_call (and, for 'forward', moe_session_forward):\n";
    for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
      auto signature = function->getAttrOfType<DictionaryAttr>(MoEDialect::kSignatureAttr);
      if (!signature)
        continue;
      os << " *\n * \"" << function.getName() << "\"\n";
      describeValues(os, "takes", signature.getAs<ArrayAttr>("inputs"));
      describeValues(os, "gives", signature.getAs<ArrayAttr>("outputs"));
    }
    os << " */\n" << kProgramHeader << '\n' << kRuntimeHeader;
    return llvm::Error::success();
  });
}
