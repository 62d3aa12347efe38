// The command line of compiled programs: what it says, and nothing of what is
// done about it.
#ifndef MOE_LIB_RUNTIME_OPTIONS_H
#define MOE_LIB_RUNTIME_OPTIONS_H

#include <cstdint>
#include <string>
#include <vector>

namespace moe::runtime {

/// Thrown for a command line that has no meaning; the exit status is 2.
struct UsageError {
  std::string message;
};

struct Options {
  bool help = false, version = false, verify = false;
  std::string function;
  std::vector<std::string> inputs, outputs;
  std::string tokens, logits;
  int64_t generate = 0; ///< 0: not asked for
  bool stopAtEos = false;
  int64_t threads = 0, context = 0, prefillChunk = 0; ///< 0: the default
  std::string recordLoad;
  bool profile = false, bench = false;
  int64_t repeats = 0;
  std::string weights;
  std::string driver; ///< of device programs only
  bool poisonCache = false;
};

/// Throws UsageError.
Options parseOptions(int argc, char **argv);

/// One line per option of a program for a device or for the CPU, for --help.
std::string optionsHelp(bool device);

} // namespace moe::runtime

#endif // MOE_LIB_RUNTIME_OPTIONS_H
