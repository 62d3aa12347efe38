//===- Import.cpp - From files to a program -------------------------------===//
//
// Chooses the architecture of a checkpoint by its model_type, and parses IR
// behind the nesting scan.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Import.h"
#include "Architectures/Architectures.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Import/Crash.h"
#include "moe/Import/Extents.h"
#include "moe/Import/Nesting.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr uint64_t kMaxIRBytes = uint64_t(1) << 30;

/// A diagnostic as one line, cut where it holds a whole program.
std::string describe(Diagnostic &diagnostic) {
  constexpr size_t kMaxShown = 400;
  std::string message;
  llvm::raw_string_ostream os(message);
  if (auto location =
          diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
    os << location.getFilename().getValue() << ":" << location.getLine() << ":"
       << location.getColumn() << ": ";
  os << diagnostic.str();
  for (Diagnostic &note : diagnostic.getNotes()) {
    os << "; " << note.str();
    break;
  }
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (message.size() > kMaxShown)
    message.replace(kMaxShown, std::string::npos, "...");
  return message;
}

/// Collects diagnostics while it lives; the first error becomes one line.
class ErrorCollector {
public:
  explicit ErrorCollector(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
              text.empty())
            text = describe(diagnostic);
          return success();
        }) {}

  std::string take(StringRef otherwise) {
    return text.empty() ? otherwise.str() : text;
  }

private:
  std::string text;
  ScopedDiagnosticHandler handler;
};

/// What to say about a folder whose model_type nobody knows.
llvm::Error makeUnknownError(StringRef folder, const Twine &path,
                             const llvm::json::Object &config,
                             StringRef modelType, MLIRContext &context) {
  std::string known =
      llvm::join(llvm::map_range(getArchitectures(),
                                 [](const Architecture &architecture) {
                                   return architecture.modelType;
                                 }),
                 ", ");
  std::string nearest;
  llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint =
      Checkpoint::openFolder(folder);
  if (checkpoint)
    nearest = describeNearest(config, **checkpoint, context);
  else // what is wrong with the tensors is not what was asked
    llvm::consumeError(checkpoint.takeError());
  return makeError(
      path + ": 'model_type': expected one of " + known + ", got " +
      (modelType.empty() ? std::string("none") : quoted(modelType)) + nearest);
}

/// Packed numbers and their scales have no form in the program.
void checkUnquantized(Config &config) {
  StringRef key = "quantization_config";
  if (!config.has(key))
    return;
  Config quantization = config.section(key);
  std::string method = quantization.text({"quant_method"}, "unknown");
  config.adopt(quantization);
  config.fail("'" + key +
              "': expected a checkpoint in F32, F16 or BF16, got "
              "one quantized by " +
              quoted(method));
}

} // namespace

void mlir::moe::loadImportDialects(MLIRContext &context) {
  context.loadDialect<arith::ArithDialect, func::FuncDialect,
                      linalg::LinalgDialect, math::MathDialect,
                      ml_program::MLProgramDialect, MoEDialect, scf::SCFDialect,
                      tensor::TensorDialect>();
}

llvm::Expected<ImportedProgram>
mlir::moe::importCheckpoint(StringRef folder, MLIRContext &context) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, "config.json");
  if (!llvm::sys::fs::exists(path))
    return makeError(folder +
                     ": expected a checkpoint folder with config.json");
  llvm::Expected<std::string> text = readFile(path, kMaxConfigBytes);
  if (!text)
    return text.takeError();
  llvm::Expected<llvm::json::Value> json = parseJSON(*text, path);
  if (!json)
    return json.takeError();
  const llvm::json::Object *object = json->getAsObject();
  if (!object)
    return makeError(path + ": expected a JSON object");

  Config config(*object, path);
  std::string modelType = config.text({"model_type"}, "");
  const Architecture *architecture =
      llvm::find_if(getArchitectures(), [&](const Architecture &architecture) {
        return architecture.modelType == modelType;
      });
  if (config.failed())
    return makeError(config.getError());
  loadImportDialects(context);
  if (architecture == getArchitectures().end())
    return makeUnknownError(folder, path, *object, modelType, context);
  checkUnquantized(config);
  Decoder decoder = architecture->describe(config);
  if (config.failed())
    return makeError(config.getError());

  llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint =
      Checkpoint::openFolder(folder);
  if (!checkpoint)
    return checkpoint.takeError();
  ImportedProgram program;
  program.module =
      ModuleOp::create(NameLoc::get(StringAttr::get(&context, modelType)));
  Model model(*program.module, **checkpoint);
  buildDecoder(model, decoder);
  if (model.failed())
    return makeError(model.getError());
  for (const std::string &warning : config.getWarnings())
    emitWarning(UnknownLoc::get(&context)) << warning;
  ErrorCollector errors(context);
  if (failed(verify(*program.module)))
    return makeError(folder + ": the imported program is not valid: " +
                     errors.take("unknown error"));
  program.weights = std::move(*checkpoint);
  return program;
}

llvm::Expected<ImportedProgram>
mlir::moe::importIR(StringRef path, StringRef weights, MLIRContext &context) {
  llvm::Expected<std::string> text = readFile(path, kMaxIRBytes);
  if (!text)
    return text.takeError();
  // A copy, since resources of bytecode stay in it.
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(
      llvm::MemoryBuffer::getMemBufferCopy(*text, path), llvm::SMLoc());
  loadImportDialects(context);
  llvm::Expected<OwningOpRef<ModuleOp>> module =
      parseGuarded(sources, context, [](Diagnostic &diagnostic) {
        exitFailed(describe(diagnostic));
      });
  if (!module)
    return makeError(path + ": " + llvm::toString(module.takeError()));
  ErrorCollector errors(context);
  if (!*module || failed(verify(**module)) ||
      failed(checkDimIndices(**module)))
    return makeError(
        errors.take((path + ": expected MLIR text or bytecode").str()));
  recordEqualExtents(**module);
  ImportedProgram program;
  program.module = std::move(*module);
  if (!weights.empty()) {
    llvm::Expected<std::unique_ptr<Checkpoint>> checkpoint =
        Checkpoint::openFile(weights);
    if (!checkpoint)
      return checkpoint.takeError();
    program.weights = std::move(*checkpoint);
  }
  return program;
}

llvm::Expected<ImportedProgram> mlir::moe::importProgram(StringRef path,
                                                         StringRef weights,
                                                         MLIRContext &context) {
  if (!llvm::sys::fs::is_directory(path))
    return importIR(path, weights, context);
  if (!weights.empty())
    return makeError(
        "--weights belongs to IR; a checkpoint folder has its own weights");
  return importCheckpoint(path, context);
}
