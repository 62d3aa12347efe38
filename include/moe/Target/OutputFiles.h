//===- OutputFiles.h - Files written whole or not at all --------*- C++ -*-===//
//
// Several files under temporary names beside their targets, renamed together when all are complete.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_TARGET_OUTPUTFILES_H
#define MOE_TARGET_OUTPUTFILES_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"

#include <string>
#include <vector>

namespace mlir::moe {

/// Temporary files become outputs on commit(); those not committed are removed, also when a signal ends the program.
class OutputFiles {
public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles &) = delete;
  OutputFiles &operator=(const OutputFiles &) = delete;
  ~OutputFiles();

  /// Makes an empty temporary file for the output `path` and returns its name. If `path` is empty, it is a file for
  /// the time of the run only, beside `beside`.
  llvm::Expected<std::string> add(llvm::StringRef path, llvm::StringRef beside = "");

  /// Renames all files, in the order they were added: the program goes last.
  llvm::Error commit();

private:
  struct File {
    std::string temporary, path;
  };
  std::vector<File> files;
};

/// Writes a file through a stream; reports a full disk. "-" is standard output.
llvm::Error writeFile(llvm::StringRef path, llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write);

} // namespace mlir::moe

#endif // MOE_TARGET_OUTPUTFILES_H
