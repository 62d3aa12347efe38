//===- Nearest.cpp - Which known architecture has these tensors -----------===//
//
// For checkpoints of an unknown model_type: tries to build each known one from
// configuration and tensors as they are.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::moe;
using llvm::StringRef;
using llvm::Twine;

namespace {

/// Tensors of the checkpoint that the architecture does not read; none if it
/// cannot be built from the configuration and the tensors.
std::optional<std::vector<StringRef>>
findUnread(const Architecture &architecture, const llvm::json::Object &object,
           const Checkpoint &checkpoint, MLIRContext &context) {
  Config config(object, "");
  Decoder decoder = architecture.describe(config);
  if (config.failed())
    return std::nullopt;
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  Model model(*module, checkpoint);
  buildDecoder(model, decoder);
  if (model.failed())
    return std::nullopt;
  llvm::StringSet<> read;
  for (auto global : module->getOps<ml_program::GlobalOp>())
    global.getValueAttr().walk(
        [&](SourceAttr source) { read.insert(source.getName()); });
  std::vector<StringRef> unread;
  for (StringRef name : checkpoint.getNames())
    if (!read.contains(name))
      unread.push_back(name);
  return unread;
}

} // namespace

std::string mlir::moe::describeNearest(const llvm::json::Object &object,
                                       const Checkpoint &checkpoint,
                                       MLIRContext &context) {
  StringRef nearest;
  std::vector<StringRef> unread;
  for (const Architecture &architecture : getArchitectures()) {
    std::optional<std::vector<StringRef>> left =
        findUnread(architecture, object, checkpoint, context);
    if (left && (nearest.empty() || left->size() < unread.size())) {
      nearest = architecture.modelType;
      unread = *left;
    }
  }
  if (nearest.empty())
    return "";
  std::string text = "; it has the tensors of " + quoted(nearest);
  if (!unread.empty())
    text += (" and " + Twine(unread.size()) + " that those do not have, as " +
             quoted(unread.front()))
                .str();
  return text + ", whose blocks are the nearest";
}
