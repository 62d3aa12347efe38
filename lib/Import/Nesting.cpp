//===- Nesting.cpp - What IR may be handed to passes ----------------------===//
//
// Text inside bytecode, and what a reader made of it, before anything that
// recurses sees either.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Nesting.h"

#include "moe/Import/Crash.h"
#include "moe/Import/Text.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace mlir::moe;

//===----------------------------------------------------------------------===//
// Text inside bytecode
//===----------------------------------------------------------------------===//

namespace {

/// Finds the attributes and types that bytecode holds as text. Follows the
/// sections as MLIR's reader does; what it cannot follow is an error.
class BytecodeScanner {
public:
  explicit BytecodeScanner(StringRef bytes)
      : at(bytes.begin()), end(bytes.end()) {}

  llvm::Error scan() {
    StringRef entries, offsets;
    if (!readHeader() || !readSections(entries, offsets))
      return makeError("broken MLIR bytecode");
    return scanEntries(entries, offsets);
  }

private:
  enum Section { kAttributes = 2, kOffsets = 3 };

  bool readByte(uint8_t &value) {
    if (at == end)
      return false;
    value = static_cast<uint8_t>(*at++);
    return true;
  }

  /// As many zero bits as there are further bytes, then a one, then the value.
  bool readNumber(uint64_t &value) {
    uint8_t first;
    if (!readByte(first))
      return false;
    unsigned more = first ? llvm::countr_zero(first) : 8;
    value = more >= 7 ? 0 : first >> (more + 1);
    unsigned shift = more >= 7 ? 0 : 7 - more;
    for (unsigned i = 0; i < more; ++i) {
      uint8_t byte;
      if (!readByte(byte))
        return false;
      value |= uint64_t(byte) << (8 * i + shift);
    }
    return true;
  }

  bool readHeader() {
    uint64_t version;
    if (end - at < 4)
      return false;
    at += 4; // the magic number, looked at before
    if (!readNumber(version))
      return false;
    at = std::find(at, end, '\0'); // the producer
    return at++ != end;
  }

  bool readSections(StringRef &entries, StringRef &offsets) {
    while (at != end) {
      uint8_t id;
      uint64_t length, alignment = 1;
      if (!readByte(id) || !readNumber(length))
        return false;
      if (id & 0x80 && (!readNumber(alignment) || !alignment))
        return false;
      while (at != end && reinterpret_cast<uintptr_t>(at) % alignment)
        ++at;
      if (length > static_cast<uint64_t>(end - at))
        return false;
      StringRef data(at, length);
      at += length;
      if ((id & 0x7f) == kAttributes)
        entries = data;
      if ((id & 0x7f) == kOffsets)
        offsets = data;
    }
    return true;
  }

  llvm::Error scanEntries(StringRef entries, StringRef offsets) {
    at = offsets.begin();
    end = offsets.end();
    uint64_t attributes, types, dialect, count, field;
    if (!readNumber(attributes) || !readNumber(types))
      return makeError("broken MLIR bytecode");
    while (at != end) {
      if (!readNumber(dialect) || !readNumber(count))
        return makeError("broken MLIR bytecode");
      for (uint64_t i = 0; i < count; ++i) {
        if (!readNumber(field) || field / 2 > entries.size())
          return makeError("broken MLIR bytecode");
        StringRef entry = entries.take_front(field / 2);
        entries = entries.drop_front(field / 2);
        bool isText = !(field & 1);
        if (!isText)
          continue;
        if (llvm::Error error =
                scanNesting(entry.split('\0').first, TextKind::mlir))
          return makeError("in an attribute: " +
                           llvm::toString(std::move(error)));
      }
    }
    return llvm::Error::success();
  }

  const char *at, *end;
};

//===----------------------------------------------------------------------===//
// What was read
//===----------------------------------------------------------------------===//

/// Depth and printed size of attributes and types, each computed once.
class ValueMeasure {
public:
  llvm::Error check(Attribute attribute) {
    return attribute ? measure(attribute.getAsOpaquePointer(), false)
                     : llvm::Error::success();
  }
  llvm::Error check(Type type) {
    return type ? measure(type.getAsOpaquePointer(), true)
                : llvm::Error::success();
  }

private:
  struct Extent {
    uint64_t depth = 0, size = 0;
  };
  using Key = llvm::PointerIntPair<const void *, 1, bool>;
  /// More than this prints as gigabytes.
  static constexpr uint64_t kMaxSize = uint64_t(1) << 26;

  llvm::Error measure(const void *pointer, bool isType) {
    SmallVector<Key> stack{Key(pointer, isType)};
    while (!stack.empty()) {
      Key key = stack.back();
      if (known.contains(key)) {
        stack.pop_back();
        continue;
      }
      Extent extent{1, 1};
      size_t before = stack.size();
      // A type may contain itself; what is still open the second time is that.
      bool expanded = !open.insert(key).second;
      auto visit = [&](Key part) {
        if (!part.getPointer())
          return;
        auto found = known.find(part);
        if (found == known.end()) {
          if (!expanded && !open.contains(part))
            stack.push_back(part);
          return;
        }
        extent.depth = std::max(extent.depth, found->second.depth + 1);
        extent.size = llvm::SaturatingAdd(extent.size, found->second.size);
      };
      auto visitAttribute = [&](Attribute part) {
        visit(Key(part.getAsOpaquePointer(), false));
      };
      auto visitType = [&](Type part) {
        visit(Key(part.getAsOpaquePointer(), true));
      };
      if (key.getInt())
        Type::getFromOpaquePointer(key.getPointer())
            .walkImmediateSubElements(visitAttribute, visitType);
      else
        Attribute::getFromOpaquePointer(key.getPointer())
            .walkImmediateSubElements(visitAttribute, visitType);
      if (stack.size() != before)
        continue; // the parts first
      if (extent.depth > kMaxNesting)
        return makeError("attributes nested deeper than " +
                         Twine(kMaxNesting));
      if (extent.size > kMaxSize)
        return makeError("an attribute of more than " + Twine(kMaxSize) +
                         " parts");
      known[key] = extent;
      stack.pop_back();
    }
    return llvm::Error::success();
  }

  llvm::DenseMap<Key, Extent> known;
  llvm::DenseSet<Key> open;
};

} // namespace

/// Attributes, types and locations of one operation.
static llvm::Error checkParts(Operation *op, ValueMeasure &values) {
  SmallVector<Attribute> attributes = {op->getAttrDictionary(), op->getLoc()};
  SmallVector<Type> types(op->getResultTypes());
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (BlockArgument argument : block.getArguments()) {
        types.push_back(argument.getType());
        attributes.push_back(argument.getLoc());
      }
  for (Attribute attribute : attributes)
    if (llvm::Error error = values.check(attribute))
      return error;
  for (Type type : types)
    if (llvm::Error error = values.check(type))
      return error;
  return llvm::Error::success();
}

llvm::Error moe::checkNesting(Operation *op) {
  ValueMeasure values;
  SmallVector<std::pair<Operation *, unsigned>> stack{{op, 1}};
  while (!stack.empty()) {
    auto [current, depth] = stack.pop_back_val();
    if (depth > kMaxNesting)
      return makeError("operations nested deeper than " + Twine(kMaxNesting));
    if (llvm::Error error = checkParts(current, values))
      return error;
    for (Region &region : current->getRegions())
      for (Block &block : region)
        for (Operation &inner : block)
          stack.push_back({&inner, depth + 1});
  }
  return llvm::Error::success();
}

llvm::Expected<OwningOpRef<ModuleOp>>
moe::parseGuarded(const std::shared_ptr<llvm::SourceMgr> &sources,
                  MLIRContext &context,
                  llvm::function_ref<void(Diagnostic &)> onError) {
  llvm::MemoryBufferRef source =
      *sources->getMemoryBuffer(sources->getMainFileID());
  if (llvm::Error error =
          isBytecode(source)
              ? BytecodeScanner(source.getBuffer()).scan()
              : scanNesting(source.getBuffer(), TextKind::mlir))
    return std::move(error);
  ParsingScope parsing(source.getBufferIdentifier());
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      onError(diagnostic);
    return success();
  });
  // The verifier recurses, so nothing is verified before the check.
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(
      sources, ParserConfig(&context, /*verifyAfterParse=*/false));
  if (!module)
    return module;
  if (llvm::Error error = checkNesting(*module)) {
    // Destroying recurses as well: what is too deep lives until the tool ends.
    (void)module.release();
    return std::move(error);
  }
  return module;
}

LogicalResult moe::checkDimIndices(ModuleOp module) {
  WalkResult walk = module.walk([](tensor::DimOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getSource().getType());
    std::optional<int64_t> index = op.getConstantIndex();
    if (!type || !index || (*index >= 0 && *index < type.getRank()))
      return WalkResult::advance();
    op.emitOpError() << "expected the index of a dimension of " << type
                     << ", got " << *index;
    return WalkResult::interrupt();
  });
  return failure(walk.wasInterrupted());
}
