// Entry point of every compiled program: reads the command line, opens the
// program, runs a command, and turns what goes wrong into one line.
#include "Commands.h"
#include "Error.h"
#include "Model.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <unistd.h>

using namespace moe::runtime;

/// A mapped weights file that shrinks or cannot be read ends the program.
static void weightsVanished(int) {
  static const char text[] =
      "error: the weights file was cut, or cannot be read any more\n";
  ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
  static_cast<void>(ignored);
  _exit(1);
}

/// Progress of --verify, for people only.
static void showProgress(void *, uint64_t done, uint64_t total) {
  constexpr int width = 40;
  int filled = static_cast<int>(done * width / (total ? total : 1));
  std::fprintf(stderr, "\rverifying weights [%.*s%*s] %3d%%%s", filled,
               "########################################", width - filled, "",
               static_cast<int>(done * 100 / (total ? total : 1)),
               done == total ? "\n" : "");
}

static ModelHandle openModel(const Options &options) {
  moe_open_options o{};
  o.struct_size = sizeof(o);
  o.verify = options.verify;
  o.weights = options.weights.empty() ? nullptr : options.weights.c_str();
  o.driver = options.driver.empty() ? nullptr : options.driver.c_str();
  o.progress = isatty(STDERR_FILENO) ? showProgress : nullptr;
  char message[MOE_MESSAGE_SIZE];
  moe_model *model;
  moe_status status = moe_open(&o, &model, message, sizeof(message));
  if (status != MOE_OK)
    fail(status, message);
  return ModelHandle(model);
}

static void run(const Options &options, const std::string &name) {
  const moe_program_info &program = MOE_PROGRAM_SYMBOL;
  if (options.help)
    return printHelp(program, name);
  if (options.version)
    return printVersion(program);
  if (!options.driver.empty() && !program.device)
    throw UsageError{"--driver is for programs that run on a GPU; this one "
                     "runs on the CPU"};
  bool hasTokens = !options.tokens.empty();
  bool hasFunction = !options.function.empty() || !options.inputs.empty() ||
                     !options.outputs.empty();
  if (!hasTokens && !hasFunction && !options.verify)
    throw UsageError{"nothing to do; --help says what this program can run"};
  ModelHandle model = openModel(options);
  if (hasTokens)
    return runTokens(*model, options);
  if (hasFunction)
    return runFunction(*model, options);
  print(program.weights_size ? std::string("weights are whole: ") +
                                   moe_model_weights_path(model.get()) + "\n"
                             : std::string("the program has no weights\n"));
}

int main(int argc, char **argv) {
  // Failed writes are errors with a message, not signals.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGBUS, weightsVanished);
  const char *slash = argc ? std::strrchr(argv[0], '/') : nullptr;
  std::string name = slash ? slash + 1 : argc ? argv[0] : "program";
  try {
    run(parseOptions(argc, argv), name);
    return 0;
  } catch (const UsageError &error) {
    std::fprintf(stderr, "error: %s\n", error.message.c_str());
    return 2;
  } catch (const Error &error) {
    std::fprintf(stderr, "error: %s\n", error.message.c_str());
  } catch (const std::bad_alloc &) {
    std::fputs("error: out of memory\n", stderr);
  }
  return 1;
}
