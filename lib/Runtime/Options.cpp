// One table of all options: parsing, the check of combinations and the help
// text are made from it.
#include "Options.h"

#include "Error.h"

#include <set>
#include <unistd.h>

using namespace moe::runtime;

namespace {
/// An option sets exactly one of these members.
struct Option {
  const char *name;
  const char *value; ///< name of its value in --help; null: it has none
  const char *help;    ///< null: only device programs have it
  const char *section; ///< heading of --help before this option, or null
  bool Options::*flag;
  std::string Options::*text;
  int64_t Options::*number;
  std::vector<std::string> Options::*list;
  const char *deviceHelp = nullptr; ///< of device programs, if it differs
};
} // namespace

static const Option table[] = {
    {"--tokens", "IDS.npy",
     "Run the language model on these ids ([T] i32/i64).", "Language models",
     nullptr, &Options::tokens, nullptr, nullptr},
    {"--logits", "OUT.npy", "Write the logits of every token, [T, vocabulary].",
     nullptr, nullptr, &Options::logits, nullptr, nullptr},
    {"--generate", "N", "Print the N most likely next ids, on one line.",
     nullptr, nullptr, nullptr, &Options::generate, nullptr},
    {"--stop-at-eos", nullptr, "Let --generate end after an end-of-text id.",
     nullptr, &Options::stopAtEos, nullptr, nullptr, nullptr},
    {"--context", "N", "Room for N positions (default: what the run needs).",
     nullptr, nullptr, nullptr, &Options::context, nullptr},
    {"--prefill-chunk", "N",
     "Compute at most N tokens of the prompt at once (default: 2048).", nullptr,
     nullptr, nullptr, &Options::prefillChunk, nullptr},
    {"--function", "NAME", "Run this function (default: the only one).",
     "Functions", nullptr, &Options::function, nullptr, nullptr},
    {"--inputs", "FILES",
     "One .safetensors with all inputs by name, or .npy "
     "files in order: a.npy,b.npy.",
     nullptr, nullptr, nullptr, nullptr, &Options::inputs},
    {"--outputs", "FILES", "Where the results go, in the same two forms.",
     nullptr, nullptr, nullptr, nullptr, &Options::outputs},
    {"--threads", "N",
     "Use N threads (default: every CPU allowed to the "
     "process).",
     "Running", nullptr, nullptr, &Options::threads, nullptr,
     "Accepted and without effect: kernels run on the GPU."},
    {"--driver", "FILE", nullptr, nullptr, nullptr, &Options::driver, nullptr,
     nullptr,
     "Take FILE as the CUDA driver (default: libcuda.so.1 of the system)."},
    {"--weights", "FILE",
     "Take the weights from FILE (default: PROGRAM.weights "
     "beside the program).",
     nullptr, nullptr, &Options::weights, nullptr, nullptr},
    {"--verify", nullptr,
     "Compare every byte of the weights with their "
     "checksum first.",
     nullptr, &Options::verify, nullptr, nullptr, nullptr},
    {"--bench", nullptr,
     "Warm up, repeat and print times; the last line is one "
     "JSON object.",
     "Measuring", &Options::bench, nullptr, nullptr, nullptr},
    {"--repeats", "N", "Repeat --bench N times (default: for a few seconds).",
     nullptr, nullptr, nullptr, &Options::repeats, nullptr},
    {"--profile", nullptr, "Print the time of each kernel to standard error.",
     nullptr, &Options::profile, nullptr, nullptr, nullptr},
    {"--record-load", "FILE", "Write how many rows each expert got, as JSON.",
     nullptr, nullptr, &Options::recordLoad, nullptr, nullptr},
    {"--poison-cache", nullptr, "Fill the caches with NaN before the run.",
     "Testing", &Options::poisonCache, nullptr, nullptr, nullptr},
    {"--help", nullptr, "Print this page.", "Information", &Options::help,
     nullptr, nullptr, nullptr},
    {"--version", nullptr, "Print compiler, CPU and options of the program.",
     nullptr, &Options::version, nullptr, nullptr, nullptr},
};

static const Option *findOption(const std::string &name) {
  for (const Option &option : table)
    if (name == option.name)
      return &option;
  return nullptr;
}

static std::string unknown(const std::string &name) {
  std::vector<std::string> names;
  for (const Option &option : table)
    names.push_back(option.name);
  std::string near = nearest(name, names);
  return (name.compare(0, 1, "-") ? "unexpected argument "
                                  : "unknown option ") +
         quote(name) +
         (near.empty() ? "; --help lists the options"
                       : "; did you mean '" + near + "'?");
}

/// A count from 1 up.
static int64_t parseNumber(const std::string &name, const std::string &text) {
  int64_t value = 0;
  bool good = !text.empty();
  for (char c : text)
    good = good && c >= '0' && c <= '9' &&
           !__builtin_mul_overflow(value, 10, &value) &&
           !__builtin_add_overflow(value, c - '0', &value);
  if (!good || value < 1 || value > INT32_MAX)
    throw UsageError{name + " got " + quote(text) +
                     ", expected a whole number from 1 to 2147483647"};
  return value;
}

/// Adds the paths of "a.npy,b.npy"; a path that exists keeps its commas.
static void addPaths(std::vector<std::string> &paths, const std::string &text) {
  if (!access(text.c_str(), F_OK)) {
    paths.push_back(text);
    return;
  }
  for (size_t start = 0; start <= text.size();) {
    size_t end = std::min(text.find(',', start), text.size());
    paths.push_back(text.substr(start, end - start));
    start = end + 1;
  }
}

/// Options that only mean something together.
static void checkCombination(const Options &o) {
  auto require = [](bool good, const char *message) {
    if (!good)
      throw UsageError{message};
  };
  bool hasTokens = !o.tokens.empty();
  bool hasFunction =
      !o.function.empty() || !o.inputs.empty() || !o.outputs.empty();
  require(!(hasTokens && hasFunction),
          "--tokens runs the language model and --function, --inputs and "
          "--outputs run a function: give one or the other");
  require(hasTokens || (o.logits.empty() && !o.generate && !o.stopAtEos &&
                        !o.context && !o.prefillChunk && !o.poisonCache),
          "--logits, --generate, --stop-at-eos, --context, --prefill-chunk and "
          "--poison-cache need --tokens IDS.npy");
  require(!hasTokens || !o.logits.empty() || o.generate || o.bench ||
              o.profile || !o.recordLoad.empty(),
          "--tokens needs to know what to do: --logits OUT.npy, --generate N "
          "or --bench");
  require(!o.stopAtEos || o.generate, "--stop-at-eos needs --generate N");
  require(!o.bench || (o.logits.empty() && !o.stopAtEos),
          "--bench measures whole runs: leave out --logits and --stop-at-eos");
  require(!o.repeats || o.bench, "--repeats needs --bench");
  require(hasTokens || hasFunction || o.verify ||
              (!o.bench && !o.profile && o.recordLoad.empty()),
          "--bench, --profile and --record-load need something to run: "
          "--tokens IDS.npy or --function NAME");
}

Options moe::runtime::parseOptions(int argc, char **argv) {
  Options options;
  std::set<std::string> seen;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string value;
    size_t equal = name.find('=');
    bool attached = !name.compare(0, 2, "--") && equal != std::string::npos;
    if (attached) {
      value = name.substr(equal + 1);
      name.resize(equal);
    }
    if (name == "-h")
      name = "--help";
    const Option *option = findOption(name);
    if (!option)
      throw UsageError{unknown(name)};
    if (!option->list && !seen.insert(name).second)
      throw UsageError{name + " is given twice"};
    if (option->flag) {
      if (attached)
        throw UsageError{name + " takes no value"};
      options.*option->flag = true;
      continue;
    }
    if (!attached) {
      if (i + 1 == argc)
        throw UsageError{name + " needs a value: " + name + " " +
                         option->value};
      value = argv[++i];
    }
    if (value.empty())
      throw UsageError{name + " got an empty value, expected " + option->value};
    if (option->number)
      options.*option->number = parseNumber(name, value);
    else if (option->text)
      options.*option->text = value;
    else
      addPaths(options.*option->list, value);
  }
  if (!options.help && !options.version)
    checkCombination(options);
  return options;
}

std::string moe::runtime::optionsHelp(bool device) {
  std::string result;
  for (const Option &option : table) {
    const char *help =
        device && option.deviceHelp ? option.deviceHelp : option.help;
    if (!help)
      continue;
    if (option.section)
      result += std::string("\n") + option.section + ":\n";
    std::string left = option.name;
    if (option.value)
      left += std::string(" ") + option.value;
    result += format("  %-22s %s\n", left.c_str(), help);
  }
  return result;
}
