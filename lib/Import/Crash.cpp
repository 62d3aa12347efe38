//===- Crash.cpp - When the compiler itself fails -------------------------===//
//
// Handlers of the signals that stand for a bug.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Crash.h"

#include "llvm/Support/Compiler.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/Signals.h"

#include <csignal>
#include <cstring>
#include <unistd.h>

static const char *crashedTool = "";
static const char *parsedFile;

static const char *getReason(int signal) {
  switch (signal) {
  case SIGSEGV:
    return "segmentation fault, or not enough stack";
  case SIGABRT:
    return "aborted";
  case SIGFPE:
    return "arithmetic exception";
  default:
    return "illegal operation";
  }
}

/// Uses only what may be used in a handler.
static void print(std::initializer_list<const char *> texts) {
  for (const char *text : texts) {
    ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
    static_cast<void>(ignored);
  }
}

[[noreturn]] static void fail(const char *reason) {
  if (parsedFile)
    print({crashedTool, ": error: ", parsedFile, ": MLIR's parser itself failed (", reason,
           "), expected valid MLIR text or bytecode\n"});
  else
    print({crashedTool, ": error: the compiler itself failed (", reason, "): please report it with this input\n"});
  mlir::moe::exitFailed();
}

static void exitCrashed(int signal) { fail(getReason(signal)); }

/// What LLVM gives up for: its own limits, or an output that cannot be written.
static void exitGivenUp(void *, const char *reason, bool isBug) {
  if (isBug)
    fail(reason);
  print({crashedTool, ": error: ", reason, "\n"});
  mlir::moe::exitFailed();
}

/// A broken size asked for it, or there is none.
static void exitOutOfMemory(void *, const char *, bool) {
  if (parsedFile)
    fail("out of memory");
  print({crashedTool, ": error: out of memory\n"});
  mlir::moe::exitFailed();
}

void mlir::moe::exitFailed() {
  llvm::sys::RunInterruptHandlers();
  ::_exit(1);
}

void mlir::moe::exitFailed(const llvm::Twine &message) {
  print({crashedTool, ": error: ", message.str().c_str(), "\n"});
  exitFailed();
}

mlir::moe::ParsingScope::ParsingScope(llvm::StringRef file) : file(file) { parsedFile = this->file.c_str(); }

mlir::moe::ParsingScope::~ParsingScope() { parsedFile = nullptr; }

void mlir::moe::reportCrashes(const char *tool) {
  crashedTool = tool;
  // The sanitizers say more.
  if (LLVM_ADDRESS_SANITIZER_BUILD)
    return;
  llvm::install_fatal_error_handler(exitGivenUp);
  llvm::install_bad_alloc_error_handler(exitOutOfMemory);
  struct sigaction action = {};
  action.sa_handler = exitCrashed;
  // On the stack that LLVM made for this; once, should the handler fail.
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP})
    sigaction(signal, &action, nullptr);
}
