//===- Options.cpp - The command line of moe-compile ----------------------===//
//
// Flags in one category, each with its choices and its default.
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include "moe/Dialect/MoE/Transforms/Passes.h"
#include "moe/Pipelines/Stages.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::moe;
using llvm::ArrayRef;
using llvm::SmallVector;
namespace cl = llvm::cl;

static cl::OptionCategory &getCategory() {
  static cl::OptionCategory category("Options of moe-compile");
  return category;
}

namespace {
/// The flags. They are made when the command line is read, after LLVM's own flags are out of the way.
struct Flags {
  cl::opt<std::string> input{cl::Positional, cl::desc("INPUT"), cl::cat(getCategory())};
  cl::opt<std::string> output{"o", cl::value_desc("file"), cl::cat(getCategory()),
                                     cl::desc("The file to write; '-' for text on standard output (default for IR and "
                                              "assembly)")};
  cl::opt<std::string> target{"target", cl::value_desc("name"), cl::init("cpu"), cl::cat(getCategory()),
                                     cl::desc("What to compile for: cpu or nvptx, NVIDIA's GPUs (default cpu)")};
  cl::opt<std::string> cpu{"cpu", cl::value_desc("name"), cl::init("native"), cl::cat(getCategory()),
                                  cl::desc("The CPU: native or a name that LLVM knows, with AVX2 and FMA (default "
                                           "native)")};
  cl::opt<std::string> chip{"chip", cl::value_desc("name"), cl::init("sm_90a"), cl::cat(getCategory()),
                            cl::desc("The GPU of --target=nvptx: sm_80, sm_90, sm_90a, sm_100, sm_100a, or host for "
                                     "tests without one (default sm_90a)")};
  cl::opt<std::string> maxTokens{"max-tokens", cl::value_desc("number"), cl::init("2048"), cl::cat(getCategory()),
                                 cl::desc("The most tokens of one call of a program for a GPU (default 2048)")};
  cl::opt<std::string> arithmetic{"arithmetic", cl::value_desc("type"), cl::init("bf16"), cl::cat(getCategory()),
                                  cl::desc("How a GPU multiplies by weights stored in bf16: bf16, on the tensor cores of "
                                           "sm_90a, or f32 (default bf16 for sm_90a, f32 for other chips)")};
  cl::opt<std::string> tokenTile{"tile-n", cl::value_desc("number"), cl::init("0"), cl::cat(getCategory()),
                                 cl::desc("For developers: rows per tile of products on tensor cores, a multiple of 8 "
                                          "up to 256 (default: by the number of rows)")};
  cl::opt<std::string> emit{"emit", cl::value_desc("kind"), cl::init("exe"), cl::cat(getCategory()),
                                   cl::desc("What to write: exe, shared, obj, asm, llvm, moe, optimized or tiled; of a "
                                            "GPU's part ptx, cubin or kernels (default exe)")};
  cl::opt<std::string> stopAfter{"stop-after", cl::value_desc("stage"), cl::cat(getCategory()),
                                        cl::desc("Write the IR at the end of a stage: import, optimize, tile or cpu; with "
                                                 "--target=nvptx, kernels and nvptx in place of cpu")};
  cl::opt<std::string> weights{"weights", cl::value_desc("file"), cl::cat(getCategory()),
                                      cl::desc("The safetensors file with the weights of a .mlir input (default none)")};
  cl::opt<std::string> dumpFolder{"dump-dir", cl::value_desc("folder"), cl::cat(getCategory()),
                                         cl::desc("Write the IR after each stage to numbered files there (default "
                                                  "none)")};
  cl::opt<std::string> loadProfile{"load-profile", cl::value_desc("file"), cl::cat(getCategory()),
                                          cl::desc("Expert loads recorded by a program: not supported yet")};
  cl::opt<bool> reference{"moe-reference", cl::cat(getCategory()),
                                 cl::desc("Lower everything to the plainest loops, to compare with (default off)")};
  cl::opt<std::string> forceClass{"force-class", cl::value_desc("class"), cl::cat(getCategory()),
                                  cl::desc("For developers: use one class of kernels for products of any number of "
                                           "rows: single, few or full (default: by the number)")};
  cl::opt<bool> printStages{"print-stages", cl::cat(getCategory()),
                            cl::desc("For developers: print the table of stages and exit (default off)")};
  cl::opt<bool> verbose{"verbose", cl::cat(getCategory()),
                               cl::desc("Say how long each stage took, and which products are on tensor cores, on "
                                        "standard error (default: on a terminal)")};
};
} // namespace

std::string getCompilerVersion() { return "moe-compile " MOE_VERSION " (LLVM " LLVM_VERSION_STRING ")"; }

[[noreturn]] static void fail(const llvm::Twine &message) {
  std::string line = message.str();
  // Flags are shown as they were given, but for what would change the terminal.
  for (char &c : line)
    if (!llvm::isPrint(c))
      c = '?';
  llvm::errs() << "moe-compile: error: " << line << '\n';
  exit(1);
}

static int64_t getNumber(const cl::opt<std::string> &flag) {
  int64_t number;
  if (llvm::StringRef(flag).getAsInteger(10, number))
    fail("expected --" + flag.ArgStr + " to be a whole number, got '" + flag.getValue() + "'");
  return number;
}

static std::string listStages(Target target) {
  std::string names;
  for (const Stage &stage : getStages(target))
    names += (names.empty() ? "" : ", ") + stage.name.str();
  return names;
}

/// What --emit may say besides the forms of stages.
static ArrayRef<llvm::StringLiteral> getKinds(Target target) {
  static constexpr llvm::StringLiteral kKinds[] = {"exe", "shared", "obj", "asm", "llvm", "ptx", "cubin"};
  return target == Target::CPU ? ArrayRef(kKinds).drop_back(2) : ArrayRef(kKinds);
}

/// Finds out where to stop from --emit and --stop-after.
static void chooseOutput(const std::string &emit, bool emitGiven, const std::string &stopAfter,
                         CompileOptions &options) {
  ArrayRef<Stage> stages = getStages(options.target);
  options.lastStage = &stages.back();
  if (!stopAfter.empty()) {
    options.lastStage = lookupStage(stopAfter, options.target);
    if (!options.lastStage)
      fail("unknown stage '" + llvm::Twine(stopAfter) + "' in --stop-after, expected one of " +
           listStages(options.target));
    if (emitGiven)
      fail("--emit and --stop-after exclude each other, expected one of them");
    return;
  }
  for (const Stage &stage : stages) {
    if (emit != stage.form)
      continue;
    options.lastStage = &stage;
    return;
  }
  if (llvm::is_contained(getKinds(options.target), emit)) {
    options.emit = emit;
    return;
  }
  std::string forms;
  // The last form is for developers.
  for (const Stage &stage : stages.drop_back())
    forms += ", " + stage.form.str();
  fail("unknown kind '" + llvm::Twine(emit) + "' in --emit, expected one of " +
       llvm::join(getKinds(options.target), ", ") + forms);
}

CompileOptions parseCommandLine(int argc, char **argv) {
  // Flags of LLVM's own tools are not ours, and one has the name of ours.
  SmallVector<cl::Option *> foreign;
  for (auto &entry : cl::getRegisteredOptions())
    if (!llvm::is_contained({"help", "help-list", "help-hidden", "version"}, entry.first))
      foreign.push_back(entry.second);
  for (cl::Option *option : foreign)
    option->removeArgument();
  Flags flags;
  cl::SetVersionPrinter([](llvm::raw_ostream &os) { os << getCompilerVersion() << '\n'; });
  cl::ParseCommandLineOptions(argc, argv,
                              "Compiles a mixture-of-experts model to a native program.\n\n"
                              "  INPUT is a .mlir or .mlirbc file, or a Hugging Face checkpoint folder\n"
                              "  (config.json and *.safetensors). The weights go to a file beside the output.\n");
  if (flags.printStages) {
    printStages(llvm::outs());
    exit(0);
  }
  CompileOptions options;
  if (flags.input.empty())
    fail("no input, expected a .mlir or .mlirbc file or a checkpoint folder (see --help)");
  std::optional<Target> target = lookupTarget(flags.target);
  if (!target)
    fail("unknown target '" + llvm::Twine(flags.target) + "', expected cpu or nvptx");
  options.target = *target;
  options.chip = flags.chip;
  options.maxTokens = getNumber(flags.maxTokens);
  if (options.target == Target::CPU && (flags.chip.getNumOccurrences() || flags.maxTokens.getNumOccurrences()))
    fail("--chip and --max-tokens are for GPUs, expected them with --target=nvptx");
  if (options.target != Target::CPU && (flags.reference || !flags.forceClass.empty()))
    fail("--moe-reference and --force-class are for the CPU, expected them without --target=nvptx");
  if (options.target == Target::CPU && (flags.arithmetic.getNumOccurrences() || flags.tokenTile.getNumOccurrences()))
    fail("--arithmetic and --tile-n are for GPUs, expected them with --target=nvptx");
  if (!llvm::is_contained({"bf16", "f32"}, flags.arithmetic))
    fail("unknown type '" + llvm::Twine(flags.arithmetic.getValue()) + "' in --arithmetic, expected bf16 or f32");
  options.tokenTile = getNumber(flags.tokenTile);
  if (options.tokenTile < 0 || options.tokenTile > 256 || options.tokenTile % 8 != 0)
    fail("expected --tile-n to be a multiple of 8 up to 256, got " + flags.tokenTile.getValue());
  bool hasTensorCores = options.target == Target::NVPTX && options.chip == "sm_90a";
  bool bf16Given = flags.arithmetic.getNumOccurrences() && flags.arithmetic == "bf16";
  if (!hasTensorCores && (bf16Given || flags.tokenTile.getNumOccurrences()))
    fail("no products on tensor cores for the chip '" + llvm::Twine(options.chip) +
         "', expected --chip=sm_90a, or neither --arithmetic=bf16 nor --tile-n");
  options.exact = !hasTensorCores || flags.arithmetic == "f32";
  if (!flags.loadProfile.empty())
    fail("--load-profile is not supported yet, expected to compile without it");
  if (!flags.forceClass.empty() && !llvm::is_contained(getKernelClasses(), flags.forceClass.getValue()))
    fail("unknown class '" + llvm::Twine(flags.forceClass) + "' in --force-class, expected one of " +
         llvm::join(getKernelClasses(), ", "));
  if (!flags.forceClass.empty() && flags.reference)
    fail("--moe-reference has no kernels, expected it without --force-class");
  chooseOutput(flags.emit, flags.emit.getNumOccurrences(), flags.stopAfter, options);
  bool isText = options.emit.empty() || options.emit == "asm" || options.emit == "llvm" || options.emit == "ptx";
  options.output = flags.output.empty() && isText ? "-" : flags.output.getValue();
  if (options.isDeviceOnly() && options.chip == "host")
    fail("the chip 'host' has no machine code of its own, expected --emit=exe or shared");
  if (options.output.empty())
    fail("no output, expected -o FILE");
  if (options.output == "-" && !isText)
    fail("cannot write a program to standard output, expected -o FILE");
  options.input = flags.input;
  options.weights = flags.weights;
  options.cpu = flags.cpu;
  options.dumpFolder = flags.dumpFolder;
  options.reference = flags.reference;
  options.forceClass = flags.forceClass;
  options.verbose = flags.verbose || llvm::sys::Process::StandardErrIsDisplayed();
  options.sayProducts = hasTensorCores && !options.exact && (bf16Given || options.verbose);
  return options;
}
