//===- RunTool.cpp - Other programs ---------------------------------------===//
//
// Runs a program and tells what it complained of.
//
//===----------------------------------------------------------------------===//

#include "RunTool.h"

#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

llvm::Error mlir::moe::runTool(llvm::StringRef tool, llvm::ArrayRef<llvm::StringRef> arguments,
                               llvm::StringRef messages, const llvm::Twine &doing) {
  std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(), messages, messages};
  std::string message;
  if (llvm::sys::ExecuteAndWait(tool, arguments, std::nullopt, redirects, 0, 0, &message) == 0)
    return llvm::Error::success();
  if (auto buffer = llvm::MemoryBuffer::getFile(messages); buffer && message.empty())
    message = (*buffer)->getBuffer().split('\n').first.str();
  return llvm::createStringError(doing + "'" + tool + "' failed: " + message);
}
