//===- PackWeights.cpp - Writes the weights file of a program -------------===//
//
// Streams what the recipes make to the file, with its checksum; the header is
// written last.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/PackWeights.h"
#include "moe/Dialect/MoE/IR/MoE.h"
#include "moe/Import/Text.h"
#include "moe/Runtime/Checksum.h"
#include "moe/Runtime/Program.h"

#include "mlir/Dialect/MLProgram/IR/MLProgram.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;
using llvm::Twine;

namespace {

std::string toText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

ArrayRef<RecipeAttrInterface> getComponents(Attribute recipe,
                                            RecipeAttrInterface &storage) {
  if (auto bank = dyn_cast_or_null<BankRecipeAttr>(recipe))
    return bank.getComponents();
  storage = dyn_cast_or_null<RecipeAttrInterface>(recipe);
  return storage ? ArrayRef<RecipeAttrInterface>(storage)
                 : ArrayRef<RecipeAttrInterface>();
}

uint64_t getTensorBytes(RankedTensorType type) {
  unsigned bits = type.getElementTypeBitWidth();
  return static_cast<uint64_t>(type.getNumElements()) *
         llvm::divideCeil(bits, 8u);
}

/// A file written in order, through a buffer, with a checksum of all bytes.
class CheckedFile {
public:
  explicit CheckedFile(StringRef path) : path(path) {}

  ~CheckedFile() {
    if (fd < 0)
      return;
    ::close(fd);
    ::unlink(path.c_str()); // never finished
  }

  llvm::Error open(uint64_t begin) {
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
      return fail("cannot create");
    position = flushed = begin;
    buffer.reserve(kBufferBytes);
    return llvm::Error::success();
  }

  /// Where the next byte goes.
  uint64_t getPosition() const { return position; }

  llvm::Error append(ArrayRef<char> bytes) {
    position += bytes.size();
    while (!bytes.empty()) {
      // Large pieces go to the file as they are.
      if (buffer.empty() && bytes.size() >= kBufferBytes) {
        if (llvm::Error error = flush(bytes.take_front(kBufferBytes)))
          return error;
        bytes = bytes.drop_front(kBufferBytes);
        continue;
      }
      size_t taken = std::min(bytes.size(), kBufferBytes - buffer.size());
      buffer.insert(buffer.end(), bytes.begin(), bytes.begin() + taken);
      bytes = bytes.drop_front(taken);
      if (buffer.size() < kBufferBytes)
        continue;
      if (llvm::Error error = flush(buffer))
        return error;
      buffer.clear();
    }
    return llvm::Error::success();
  }

  llvm::Error padTo(uint64_t offset) {
    static const char zeros[MOE_WEIGHTS_SECTION] = {};
    while (position < offset)
      if (llvm::Error error = append(ArrayRef<char>(
              zeros, std::min<uint64_t>(sizeof(zeros), offset - position))))
        return error;
    return llvm::Error::success();
  }

  /// Writes what is buffered; gives the checksum of everything.
  llvm::Expected<uint64_t> finishData() {
    if (llvm::Error error = flush(buffer))
      return std::move(error);
    buffer.clear();
    return checksum.digest();
  }

  /// Writes the header and closes the file: from here on it stays.
  llvm::Error finish(const moe_weights_header &header) {
    if (llvm::Error error =
            writeAt(ArrayRef<char>(reinterpret_cast<const char *>(&header),
                                   sizeof(header)),
                    0))
      return error;
    int closing = fd;
    fd = -1;
    if (::close(closing) == 0)
      return llvm::Error::success();
    llvm::Error error = fail("cannot write");
    ::unlink(path.c_str());
    return error;
  }

private:
  static constexpr size_t kBufferBytes = 1 << 20;

  llvm::Error flush(ArrayRef<char> bytes) {
    checksum.update(bytes.data(), bytes.size());
    if (llvm::Error error = writeAt(bytes, flushed))
      return error;
    flushed += bytes.size();
    return llvm::Error::success();
  }

  llvm::Error writeAt(ArrayRef<char> bytes, uint64_t offset) {
    while (!bytes.empty()) {
      ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), offset);
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        return fail("cannot write");
      bytes = bytes.drop_front(count);
      offset += count;
    }
    return llvm::Error::success();
  }

  llvm::Error fail(const char *what) const {
    return makeError(path + ": " + what + ": " + llvm::sys::StrError(errno));
  }

  std::string path;
  int fd = -1;
  uint64_t position = 0, flushed = 0;
  std::vector<char> buffer;
  ::moe::XXH64 checksum;
};

/// Everything that the program assumes about the file, as text to be hashed.
std::string describe(StringRef identity, ArrayRef<Parameter> parameters,
                     uint64_t fileSize, uint64_t checksum) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << identity << '\n' << fileSize << ' ' << checksum << '\n';
  for (const Parameter &parameter : parameters)
    os << parameter.offset << ' ' << parameter.type << ' ' << parameter.name
       << '\n';
  return text;
}

} // namespace

uint64_t mlir::moe::getParameterBytes(Attribute recipe) {
  RecipeAttrInterface storage;
  uint64_t size = 0;
  for (RecipeAttrInterface component : getComponents(recipe, storage))
    size = llvm::alignTo(size, MOE_WEIGHTS_ALIGNMENT) +
           getTensorBytes(component.getTensorType());
  return size;
}

llvm::Expected<std::vector<Parameter>>
mlir::moe::getParameters(ModuleOp module) {
  std::vector<Parameter> parameters;
  for (auto global : module.getOps<ml_program::GlobalOp>()) {
    auto offset = global->getAttrOfType<IntegerAttr>(MoEDialect::kOffsetAttr);
    if (!offset)
      continue;
    std::string name = global.getSymName().str();
    RecipeAttrInterface storage;
    Attribute value = global.getValue().value_or(Attribute());
    ArrayRef<RecipeAttrInterface> components = getComponents(value, storage);
    SmallVector<RankedTensorType> expected;
    if (auto bank = dyn_cast<BankType>(global.getType()))
      llvm::append_range(expected, bank.getComponents());
    else if (auto tensor = dyn_cast<RankedTensorType>(global.getType()))
      expected.push_back(tensor);
    if (components.empty() || components.size() != expected.size() ||
        isa<BankType>(global.getType()) != isa<BankRecipeAttr>(value))
      return makeError("global " + quoted(name) +
                       ": expected a recipe of type " +
                       toText(global.getType()));

    uint64_t position = offset.getInt();
    for (auto [index, component] : llvm::enumerate(components)) {
      RankedTensorType type = component.getTensorType();
      if (type != expected[index])
        return makeError("global " + quoted(name) +
                         ": expected a recipe of type " +
                         toText(expected[index]) + ", got " + toText(type));
      Parameter parameter;
      parameter.name =
          components.size() == 1 ? name : name + "." + std::to_string(index);
      parameter.recipe = component;
      parameter.type = type;
      parameter.offset = llvm::alignTo(position, MOE_WEIGHTS_ALIGNMENT);
      parameter.size = getTensorBytes(type);
      if (index == 0 && parameter.offset != position)
        return makeError("global " + quoted(name) +
                         ": expected an offset that is a multiple of " +
                         Twine(MOE_WEIGHTS_ALIGNMENT) + ", got " +
                         Twine(position));
      position = parameter.offset + parameter.size;
      parameters.push_back(std::move(parameter));
    }
  }

  llvm::sort(parameters, [](const Parameter &a, const Parameter &b) {
    return std::tie(a.offset, a.size, a.name) <
           std::tie(b.offset, b.size, b.name);
  });
  uint64_t end = MOE_WEIGHTS_SECTION;
  for (const Parameter &parameter : parameters) {
    if (parameter.offset < end)
      return makeError("tensor " + quoted(parameter.name) +
                       ": expected an offset of at least " + Twine(end) +
                       ", got " + Twine(parameter.offset));
    end = parameter.offset + parameter.size;
  }
  return parameters;
}

std::array<uint8_t, 16> mlir::moe::getBuildId(StringRef identity) {
  llvm::XXH128_hash_t hash = llvm::xxh3_128bits(ArrayRef<uint8_t>(
      reinterpret_cast<const uint8_t *>(identity.data()), identity.size()));
  std::array<uint8_t, 16> id;
  std::memcpy(id.data(), &hash.low64, 8);
  std::memcpy(id.data() + 8, &hash.high64, 8);
  return id;
}

llvm::Expected<PackedWeights>
mlir::moe::writeWeights(ModuleOp module, TensorReader &reader, StringRef path,
                        StringRef identity,
                        llvm::function_ref<void(uint64_t, uint64_t)> progress) {
  llvm::Expected<std::vector<Parameter>> parameters = getParameters(module);
  if (!parameters)
    return parameters.takeError();
  PackedWeights packed;
  packed.fileSize = MOE_WEIGHTS_SECTION;
  if (!parameters->empty())
    packed.fileSize = parameters->back().offset + parameters->back().size;
  if (auto size =
          module->getAttrOfType<IntegerAttr>(MoEDialect::kWeightsSizeAttr)) {
    if (size.getInt() < 0 ||
        static_cast<uint64_t>(size.getInt()) < packed.fileSize)
      return makeError("module: expected " +
                       Twine(MoEDialect::kWeightsSizeAttr) + " of at least " +
                       Twine(packed.fileSize) + ", got " +
                       Twine(size.getInt()));
    packed.fileSize = size.getInt();
  }

  CheckedFile file(path);
  if (llvm::Error error = file.open(MOE_WEIGHTS_SECTION))
    return std::move(error);
  for (const Parameter &parameter : *parameters) {
    if (llvm::Error error = file.padTo(parameter.offset))
      return std::move(error);
    llvm::Error error =
        cast<RecipeAttrInterface>(parameter.recipe)
            .write(reader, [&](ArrayRef<char> bytes) -> llvm::Error {
              if (llvm::Error error = file.append(bytes))
                return error;
              if (progress)
                progress(file.getPosition(), packed.fileSize);
              return llvm::Error::success();
            });
    if (error)
      return std::move(error);
    assert(file.getPosition() == parameter.offset + parameter.size &&
           "a recipe makes what its type says");
  }
  if (llvm::Error error = file.padTo(packed.fileSize))
    return std::move(error);
  llvm::Expected<uint64_t> checksum = file.finishData();
  if (!checksum)
    return checksum.takeError();
  packed.dataChecksum = *checksum;
  packed.buildId = getBuildId(
      describe(identity, *parameters, packed.fileSize, packed.dataChecksum));

  moe_weights_header header = {};
  std::memcpy(header.magic, MOE_WEIGHTS_MAGIC, sizeof(header.magic));
  header.version = 1;
  header.header_size = sizeof(header);
  header.file_size = packed.fileSize;
  header.num_tensors = parameters->size();
  std::memcpy(header.build_id, packed.buildId.data(), sizeof(header.build_id));
  header.data_checksum = packed.dataChecksum;
  header.header_checksum = ::moe::XXH64::of(&header, sizeof(header));
  if (llvm::Error error = file.finish(header))
    return std::move(error);
  return packed;
}

//===----------------------------------------------------------------------===//
// Progress
//===----------------------------------------------------------------------===//

ProgressBar::ProgressBar(StringRef label)
    : label(label), visible(::isatty(STDERR_FILENO)) {}

ProgressBar::~ProgressBar() {
  if (visible && shown >= 0)
    llvm::errs() << "\r\033[K"; // leaves the line to what comes next
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  if (!visible || total == 0)
    return;
  int now = static_cast<int>(static_cast<double>(done) / total * 1000);
  if (now == shown)
    return;
  shown = now;
  constexpr int kWidth = 40;
  int filled = now * kWidth / 1000;
  llvm::errs() << '\r' << label << " [" << std::string(filled, '#')
               << std::string(kWidth - filled, ' ') << "] " << now / 10
               << "% of " << (total >> 20) << " MiB";
}
