//===- moe-compile.cpp - The compiler -------------------------------------===//
//
// Takes a program through the stages and writes what was asked for.
//
//===----------------------------------------------------------------------===//

#include "Header.h"
#include "Options.h"
#include "ProductCounts.h"
#include "moe/Import/Crash.h"
#include "moe/Import/Import.h"
#include "moe/Import/PackWeights.h"
#include "moe/Pipelines/Registration.h"
#include "moe/Pipelines/Stages.h"
#include "moe/Target/CPU.h"
#include "moe/Target/Device.h"
#include "moe/Target/Link.h"
#include "moe/Target/OutputFiles.h"
#include "moe/Target/Translate.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"

#include <chrono>
#include <csignal>

using namespace mlir;
using namespace mlir::moe;

namespace {
/// What took how long, in one line at the end.
class Clock {
public:
  void finish(StringRef part) {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - start).count();
    start = now;
    llvm::raw_string_ostream(line) << (line.empty() ? "" : ", ") << part << ' ' << llvm::format("%.2f s", seconds);
  }
  StringRef getLine() const { return line; }

private:
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::string line;
};

class Compiler {
public:
  explicit Compiler(const CompileOptions &options, StringRef tool) : options(options), tool(tool) {}
  llvm::Error compile();

private:
  llvm::Error runStage(const Stage &stage);
  llvm::Error dump(const Stage &stage, unsigned number);
  llvm::Error writeText(llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write);
  llvm::Error packWeights();
  llvm::Error buildDevice(llvm::TargetMachine &machine);
  llvm::Error translate();
  llvm::Error emitProgram(llvm::Module &program, llvm::TargetMachine &machine);
  std::string describeOptions() const;

  const CompileOptions &options;
  std::string tool; ///< path of this executable
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::unique_ptr<TensorReader> weights;
  OutputFiles outputs;
  ProgramFacts facts;
  std::string identity; ///< what the build id stands for, besides the weights
  Clock clock;
  ProductCounts products;
};
} // namespace

/// One line for each diagnostic and note: where, what.
static LogicalResult printDiagnostic(Diagnostic &diagnostic) {
  auto print = [](Diagnostic &entry, StringRef kind) {
    if (auto file = entry.getLocation()->findInstanceOf<FileLineColLoc>())
      llvm::errs() << file.getFilename().getValue() << ':' << file.getLine() << ':' << file.getColumn() << ": ";
    else
      llvm::errs() << "moe-compile: ";
    llvm::errs() << kind << ": " << entry << '\n';
  };
  print(diagnostic, diagnostic.getSeverity() == DiagnosticSeverity::Warning ? "warning" : "error");
  for (Diagnostic &note : diagnostic.getNotes())
    print(note, "note");
  return success();
}

/// The diagnostics have said what is wrong.
static llvm::Error makeReported() { return llvm::createStringError(""); }

std::string Compiler::describeOptions() const {
  std::string text = "--cpu=" + options.cpu;
  if (options.target != Target::CPU)
    text = "--target=nvptx --chip=" + options.chip + " --max-tokens=" + std::to_string(options.maxTokens) + " " + text;
  if (options.target != Target::CPU)
    text += options.exact ? " --arithmetic=f32" : " --arithmetic=bf16";
  if (options.tokenTile)
    text += " --tile-n=" + std::to_string(options.tokenTile);
  if (!options.forceClass.empty())
    text += " --force-class=" + options.forceClass;
  return options.reference ? text + " --moe-reference" : text;
}

llvm::Error Compiler::runStage(const Stage &stage) {
  PassManager pm(&context, ModuleOp::getOperationName());
  StageOptions stageOptions;
  stageOptions.reference = options.reference;
  stageOptions.forceClass = options.forceClass;
  stageOptions.exact = options.exact;
  stageOptions.tokenTile = options.tokenTile;
  if (stage.build)
    stage.build(pm, stageOptions);
  else if (failed(verifyStage(*module, stage)))
    return makeReported();
  return succeeded(pm.run(*module)) ? llvm::Error::success() : makeReported();
}

llvm::Error Compiler::dump(const Stage &stage, unsigned number) {
  if (std::error_code code = llvm::sys::fs::create_directories(options.dumpFolder))
    return llvm::createStringError("cannot make the folder '" + options.dumpFolder + "': " + code.message());
  std::string name = (options.dumpFolder + "/" + llvm::Twine(number) + "-" + stage.name + ".mlir").str();
  return writeFile(name, [&](llvm::raw_pwrite_stream &stream) {
    module->print(stream);
    return llvm::Error::success();
  });
}

/// Writes IR or assembly to the output, through a temporary file if that is a file.
llvm::Error Compiler::writeText(llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write) {
  if (options.output == "-")
    return writeFile("-", write);
  llvm::Expected<std::string> path = outputs.add(options.output);
  if (!path)
    return path.takeError();
  if (llvm::Error error = writeFile(*path, write))
    return error;
  return outputs.commit();
}

/// Writes the weights file and fills in the facts that the program tells of it.
llvm::Error Compiler::packWeights() {
  llvm::Expected<std::vector<Parameter>> parameters = getParameters(*module);
  if (!parameters)
    return parameters.takeError();
  for (const Parameter &parameter : *parameters)
    facts.parameters.push_back({parameter.name, parameter.type, parameter.offset, parameter.size});
  facts.buildId = getBuildId(identity);
  if (parameters->empty() || !options.needsWeights())
    return llvm::Error::success();
  if (!weights)
    return llvm::createStringError("the program has weights, expected --weights=FILE.safetensors");
  llvm::Expected<std::string> path = outputs.add(options.output + ".weights");
  if (!path)
    return path.takeError();
  ProgressBar bar("packing weights");
  llvm::Expected<PackedWeights> packed = writeWeights(*module, *weights, *path, identity,
                                                      [&](uint64_t done, uint64_t total) { bar.update(done, total); });
  if (!packed)
    return packed.takeError();
  facts.buildId = packed->buildId;
  facts.weightsSize = packed->fileSize;
  return llvm::Error::success();
}

/// Object file, then program or library; the program is renamed last.
llvm::Error Compiler::emitProgram(llvm::Module &program, llvm::TargetMachine &machine) {
  bool isObject = options.emit == "obj";
  llvm::Expected<std::string> object = outputs.add(isObject ? options.output : "", options.output);
  if (!object)
    return object.takeError();
  if (llvm::Error error = writeFile(*object, [&](llvm::raw_pwrite_stream &stream) {
        return writeMachineCode(program, machine, stream, /*assembly=*/false);
      }))
    return error;
  clock.finish("code");
  if (isObject)
    return outputs.commit();

  LinkOptions link;
  link.object = *object;
  link.shared = options.emit == "shared";
  link.libraries = (llvm::sys::path::parent_path(llvm::sys::path::parent_path(tool)) + "/lib").str();
  if (link.shared)
    if (llvm::Error error = writeHeader(outputs, options.output, *module, facts))
      return error;
  for (std::string *path : {&link.scratch, &link.output}) {
    llvm::Expected<std::string> added = outputs.add(path == &link.output ? options.output : "", options.output);
    if (!added)
      return added.takeError();
    *path = *added;
  }
  if (llvm::Error error = linkProgram(link))
    return error;
  llvm::sys::fs::setPermissions(link.output, static_cast<llvm::sys::fs::perms>(0777 & ~llvm::sys::fs::getUmask()));
  clock.finish("link");
  return outputs.commit();
}

/// Makes the device's part of the program, with files beside the output.
llvm::Error Compiler::buildDevice(llvm::TargetMachine &machine) {
  DeviceScratch scratch;
  // Written to standard output, there is nothing to be beside of.
  std::string beside = options.output == "-" ? "moe-compile-device" : options.output;
  if (options.chip == "host" || options.emit == "cubin")
    for (std::string *path : {&scratch.object, &scratch.image, &scratch.messages}) {
      llvm::Expected<std::string> added = outputs.add("", beside);
      if (!added)
        return added.takeError();
      *path = *added;
    }
  llvm::Expected<DeviceFacts> device = compileDevice(*module, machine, scratch);
  if (!device)
    return device.takeError();
  facts.device = std::move(*device);
  clock.finish("device");
  if (options.emit == "ptx")
    return writeText([&](llvm::raw_pwrite_stream &stream) {
      stream << StringRef(facts.device->image).drop_back();
      return llvm::Error::success();
    });
  if (options.emit != "cubin")
    return llvm::Error::success();
  llvm::Expected<std::string> code = assembleDevice(*facts.device, scratch);
  if (!code)
    return code.takeError();
  return writeText([&](llvm::raw_pwrite_stream &stream) {
    stream << *code;
    return llvm::Error::success();
  });
}

llvm::Error Compiler::translate() {
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(*module);
  if (!machine)
    return makeReported();
  if (options.target == Target::NVPTX) {
    if (llvm::Error error = buildDevice(*machine))
      return error;
    if (options.isDeviceOnly())
      return llvm::Error::success();
  }
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> program = translateProgram(*module, facts, *machine, llvmContext);
  if (!program)
    return makeReported();
  optimizeProgram(*program, *machine);
  if (options.needsWeights())
    return emitProgram(*program, *machine);
  return writeText([&](llvm::raw_pwrite_stream &stream) -> llvm::Error {
    if (options.emit == "asm")
      return writeMachineCode(*program, *machine, stream, /*assembly=*/true);
    program->print(stream, nullptr);
    return llvm::Error::success();
  });
}

/// Fails if writing the output would destroy what it is made of.
static llvm::Error checkOutput(const CompileOptions &options) {
  namespace fs = llvm::sys::fs;
  auto isRead = [&](llvm::StringRef path) {
    if (fs::equivalent(path, options.input) || fs::equivalent(path, options.weights))
      return true;
    // Of a checkpoint: its tensors, and what is said of them.
    llvm::SmallString<128> absolute(path);
    fs::make_absolute(absolute);
    return fs::exists(path) && fs::equivalent(llvm::sys::path::parent_path(absolute), options.input) &&
           (path.ends_with(".safetensors") || path.ends_with(".json"));
  };
  for (const std::string &path : {options.output, options.output + ".weights"})
    if (isRead(path))
      return llvm::createStringError("'" + path + "' is an input, expected another name for the output");
  return llvm::Error::success();
}

llvm::Error Compiler::compile() {
  if (llvm::Error error = checkOutput(options))
    return error;
  DialectRegistry registry;
  registerCompilerDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  context.getDiagEngine().registerHandler(printDiagnostic);

  if (options.sayProducts)
    products.listen(context);

  llvm::Expected<CPUTargetAttr> target = resolveCPUTarget(&context, options.cpu);
  if (!target)
    return target.takeError();
  llvm::Expected<ImportedProgram> program = importProgram(options.input, options.weights, context);
  if (!program)
    return program.takeError();
  module = std::move(program->module);
  weights = std::move(program->weights);
  (*module)->setAttr(MoEDialect::kTargetAttr, *target);
  if (options.target == Target::NVPTX) {
    llvm::Expected<GPUTargetAttr> device = resolveGPUTarget(&context, options.chip, options.maxTokens);
    if (!device)
      return device.takeError();
    (*module)->setAttr(MoEDialect::kDeviceAttr, *device);
  }
  facts.compiler = getCompilerVersion();
  facts.options = describeOptions();

  unsigned number = 0;
  for (const Stage &stage : getStages(options.target)) {
    if (llvm::Error error = runStage(stage))
      return error;
    if (!options.dumpFolder.empty())
      if (llvm::Error error = dump(stage, number))
        return error;
    ++number;
    clock.finish(stage.name);
    if (&stage == getWeightsStage(options.target) && options.sayProducts)
      llvm::errs() << "moe-compile: " << products.getLine() << '\n';
    if (&stage == getWeightsStage(options.target) && !options.emit.empty()) {
      // Recipes and offsets are final; afterwards the module is code.
      llvm::raw_string_ostream(identity) << facts.compiler << '\n' << facts.options << '\n' << *module;
      if (llvm::Error error = packWeights())
        return error;
      clock.finish("weights");
    }
    if (&stage == options.lastStage)
      break;
  }
  llvm::Error error = options.emit.empty() ? writeText([&](llvm::raw_pwrite_stream &stream) {
    module->print(stream);
    return llvm::Error::success();
  })
                                           : translate();
  if (!error && options.verbose)
    llvm::errs() << "moe-compile: " << clock.getLine() << '\n';
  return error;
}

int main(int argc, char **argv) {
  llvm::InitLLVM initialize(argc, argv);
  reportCrashes("moe-compile");
  // A file that may not grow is an error of writing, and no reason to end at once.
  std::signal(SIGXFSZ, SIG_IGN);
  CompileOptions options = parseCommandLine(argc, argv);
  std::string tool = llvm::sys::fs::getMainExecutable(argv[0], reinterpret_cast<void *>(&main));
  llvm::Error error = Compiler(options, tool).compile();
  if (!error)
    return 0;
  std::string message = llvm::toString(std::move(error));
  if (!message.empty())
    llvm::errs() << "moe-compile: error: " << message << '\n';
  return 1;
}
