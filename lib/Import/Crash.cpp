//===- Crash.cpp - When the compiler itself fails -------------------------===//
//
// Handlers of the signals that stand for a bug.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Crash.h"

#include "llvm/Support/Compiler.h"
#include "llvm/Support/Signals.h"

#include <csignal>
#include <cstring>
#include <unistd.h>

static const char *crashedTool;

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
static void exitCrashed(int signal) {
  auto print = [](const char *text) {
    ssize_t ignored = ::write(STDERR_FILENO, text, std::strlen(text));
    static_cast<void>(ignored);
  };
  // Unfinished outputs.
  llvm::sys::RunInterruptHandlers();
  print(crashedTool);
  print(": error: the compiler itself failed (");
  print(getReason(signal));
  print("): please report it with this input\n");
  ::_exit(1);
}

void mlir::moe::reportCrashes(const char *tool) {
  // The sanitizers say more.
  if (LLVM_ADDRESS_SANITIZER_BUILD)
    return;
  crashedTool = tool;
  struct sigaction action = {};
  action.sa_handler = exitCrashed;
  // On the stack that LLVM made for this; once, should the handler fail.
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP})
    sigaction(signal, &action, nullptr);
}
