//===- OutputFiles.cpp - Files written whole or not at all ----------------===//
//
// Temporary names, renames and what to say when a disk is full.
//
//===----------------------------------------------------------------------===//

#include "moe/Target/OutputFiles.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"

using namespace mlir::moe;

static llvm::Error makeFileError(llvm::StringRef path, std::error_code code) {
  return llvm::createStringError("cannot write '" + path + "': " + code.message());
}

OutputFiles::~OutputFiles() {
  for (const File &file : files) {
    (void)llvm::sys::fs::remove(file.temporary);
    llvm::sys::DontRemoveFileOnSignal(file.temporary);
  }
}

llvm::Expected<std::string> OutputFiles::add(llvm::StringRef path, llvm::StringRef beside) {
  llvm::StringRef shown = path.empty() ? beside : path;
  if (!path.empty() && llvm::sys::fs::is_directory(path))
    return llvm::createStringError("cannot write '" + path + "': it is a folder, expected the name of a file");
  // A rename would put a file in the place of a pipe or a device.
  if (!path.empty() && llvm::sys::fs::exists(path) && !llvm::sys::fs::is_regular_file(path))
    return llvm::createStringError("cannot write '" + path + "': expected a regular file or a new name");
  // Linker and assembler would take what begins with a dash for an option, and with an @ for a file of options.
  llvm::StringRef here = shown.starts_with("-") || shown.starts_with("@") ? "./" : "";
  llvm::SmallString<128> temporary;
  int fd;
  if (std::error_code code = llvm::sys::fs::createUniqueFile(here + shown + ".tmp-%%%%%%%%", fd, temporary))
    return makeFileError(shown, code);
  (void)llvm::sys::Process::SafelyCloseFileDescriptor(fd);
  llvm::sys::RemoveFileOnSignal(temporary);
  files.push_back({temporary.str().str(), path.str()});
  return files.back().temporary;
}

llvm::Error OutputFiles::commit() {
  for (const File &file : files) {
    if (file.path.empty())
      continue;
    if (std::error_code code = llvm::sys::fs::rename(file.temporary, file.path))
      return makeFileError(file.path, code);
  }
  return llvm::Error::success();
}

llvm::Error mlir::moe::writeFile(llvm::StringRef path,
                                 llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  if (code)
    return makeFileError(path, code);
  // Object files are written back and forth; a pipe cannot be.
  llvm::Error error = llvm::Error::success();
  if (stream.supportsSeeking()) {
    error = write(stream);
  } else {
    llvm::SmallString<0> text;
    llvm::raw_svector_ostream buffer(text);
    error = write(buffer);
    if (!error)
      stream << text;
  }
  stream.flush();
  if (stream.has_error()) {
    code = stream.error();
    stream.clear_error();
    if (!error)
      error = makeFileError(path == "-" ? "standard output" : path, code);
  }
  return error;
}
