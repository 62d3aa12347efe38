//===- Safetensors.cpp - One safetensors file -----------------------------===//
//
// Reads the header, checks all of it against the size of the file, and reads
// tensors piece by piece.
//
//===----------------------------------------------------------------------===//

#include "moe/Import/Safetensors.h"
#include "moe/Import/Text.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Errno.h"
#include "llvm/Support/MathExtras.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::moe;
using llvm::Twine;

namespace {

/// The format's own limit: larger headers are an attack.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct StoredType {
  StringRef name;
  unsigned bytes;
  Type (*get)(MLIRContext *);
};

template <unsigned width> Type getInteger(MLIRContext *context) {
  return IntegerType::get(context, width);
}
template <typename FloatT> Type getFloat(MLIRContext *context) {
  return FloatT::get(context);
}

/// Every element type that this reader knows.
constexpr StoredType kStoredTypes[] = {
    {"F32", 4, getFloat<Float32Type>},
    {"BF16", 2, getFloat<BFloat16Type>},
    {"F16", 2, getFloat<Float16Type>},
    {"F64", 8, getFloat<Float64Type>},
    {"I64", 8, getInteger<64>},
    {"I32", 4, getInteger<32>},
    {"I16", 2, getInteger<16>},
    {"I8", 1, getInteger<8>},
    {"U64", 8, getInteger<64>},
    {"U32", 4, getInteger<32>},
    {"U16", 2, getInteger<16>},
    {"U8", 1, getInteger<8>},
    {"BOOL", 1, getInteger<1>},
    {"F8_E4M3", 1, getFloat<Float8E4M3FNType>},
    {"F8_E5M2", 1, getFloat<Float8E5M2Type>},
    {"F8_E8M0", 1, getFloat<Float8E8M0FNUType>},
};

const StoredType *findType(StringRef name) {
  const auto *type = llvm::find_if(
      kStoredTypes, [&](const StoredType &type) { return type.name == name; });
  return type == std::end(kStoredTypes) ? nullptr : type;
}

/// A whole number from 0 to 2^63 - 1.
std::optional<uint64_t> getSize(const llvm::json::Value &value) {
  std::optional<uint64_t> number = value.getAsUINT64();
  if (!number ||
      *number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return std::nullopt;
  return number;
}

/// Reads one entry of the header. Offsets in the file count from `dataBegin`;
/// there are `dataSize` bytes.
llvm::Expected<StoredTensor> parseTensor(const llvm::json::Value &value,
                                         uint64_t dataBegin,
                                         uint64_t dataSize) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return makeError("expected an object with dtype, shape and data_offsets");
  std::optional<StringRef> typeName = object->getString("dtype");
  const llvm::json::Array *shape = object->getArray("shape");
  const llvm::json::Array *offsets = object->getArray("data_offsets");
  if (!typeName || !shape || !offsets || object->size() != 3)
    return makeError("expected dtype (text), shape (list) and data_offsets "
                     "(list), and nothing else");

  const StoredType *type = findType(*typeName);
  if (!type)
    return makeError(
        "unknown dtype " + quoted(*typeName) + "; expected one of " +
        llvm::join(
            llvm::map_range(kStoredTypes,
                            [](const StoredType &type) { return type.name; }),
            ", "));

  StoredTensor tensor;
  tensor.type = type->name;
  int64_t bytes = type->bytes;
  bool overflow = false;
  for (const llvm::json::Value &extent : *shape) {
    std::optional<uint64_t> size = getSize(extent);
    if (!size)
      return makeError("expected whole numbers from 0 to 2^63 - 1 in shape");
    tensor.shape.push_back(*size);
    // A zero extent does not excuse others that overflow.
    overflow |= llvm::MulOverflow<int64_t>(bytes, std::max<int64_t>(*size, 1),
                                           bytes) != 0;
  }
  if (overflow)
    return makeError("expected a shape of less than 2^63 bytes");
  if (llvm::is_contained(tensor.shape, 0))
    bytes = 0;

  std::optional<uint64_t> begin, end;
  if (offsets->size() == 2) {
    begin = getSize((*offsets)[0]);
    end = getSize((*offsets)[1]);
  }
  if (!begin || !end || *begin > *end)
    return makeError(
        "expected data_offsets [begin, end] with 0 <= begin <= end");
  if (*end > dataSize)
    return makeError("data_offsets end at byte " + Twine(*end) +
                     ", but the file has " + Twine(dataSize) +
                     " bytes of data; is it cut?");
  if (*end - *begin != static_cast<uint64_t>(bytes))
    return makeError("dtype and shape need " + Twine(bytes) +
                     " bytes, data_offsets hold " + Twine(*end - *begin));
  tensor.begin = dataBegin + *begin;
  tensor.size = bytes;
  return tensor;
}

} // namespace

RankedTensorType StoredTensor::getType(MLIRContext *context) const {
  return RankedTensorType::get(shape, findType(type)->get(context));
}

SafetensorsFile::~SafetensorsFile() { ::close(fd); }

llvm::Expected<std::unique_ptr<SafetensorsFile>>
SafetensorsFile::open(StringRef path) {
  // Not blocking: a pipe in place of a file must not hang the compiler.
  int fd = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return makeError(path + ": cannot open: " + llvm::sys::StrError(errno));
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(path, fd));
  if (llvm::Error error = file->readHeader())
    return makeError(path + ": " + llvm::toString(std::move(error)));
  return file;
}

llvm::Error SafetensorsFile::readHeader() {
  struct stat status;
  if (::fstat(fd, &status) != 0)
    return makeError("cannot read: " + llvm::sys::StrError(errno));
  if (!S_ISREG(status.st_mode))
    return makeError("expected a regular file");
  uint64_t fileSize = status.st_size;

  char lengthBytes[8];
  if (fileSize < sizeof(lengthBytes))
    return makeError("expected a safetensors file of at least 8 bytes, got " +
                     Twine(fileSize));
  if (llvm::Error error = readAt(0, lengthBytes))
    return error;
  uint64_t length = llvm::support::endian::read64le(lengthBytes);
  if (length > fileSize - sizeof(lengthBytes))
    return makeError("the header's length is " + Twine(length) +
                     " bytes, but only " +
                     Twine(fileSize - sizeof(lengthBytes)) +
                     " follow; is this a safetensors file?");
  if (length > kMaxHeaderBytes)
    return makeError("expected a header of at most " + Twine(kMaxHeaderBytes) +
                     " bytes, got " + Twine(length));

  std::string text(length, '\0');
  if (llvm::Error error =
          readAt(sizeof(lengthBytes),
                 llvm::MutableArrayRef<char>(text.data(), text.size())))
    return error;
  llvm::Expected<llvm::json::Value> header = parseJSON(text, "header");
  if (!header)
    return header.takeError();
  const llvm::json::Object *object = header->getAsObject();
  if (!object)
    return makeError("expected the header to be a JSON object");

  uint64_t dataBegin = sizeof(lengthBytes) + length,
           dataSize = fileSize - dataBegin;
  for (const auto &[key, value] : *object) {
    StringRef name = key;
    if (name == "__metadata__")
      continue;
    if (name.empty())
      return makeError("expected tensors with names, got ''");
    llvm::Expected<StoredTensor> tensor =
        parseTensor(value, dataBegin, dataSize);
    if (!tensor)
      return makeError("tensor " + quoted(name) + ": " +
                       llvm::toString(tensor.takeError()));
    tensors.try_emplace(name, std::move(*tensor));
  }

  // The data is covered exactly: no byte belongs to two tensors or to none.
  std::vector<const llvm::StringMapEntry<StoredTensor> *> order;
  for (const auto &entry : tensors)
    order.push_back(&entry);
  llvm::sort(order, [](const auto *a, const auto *b) {
    return std::tuple(a->getValue().begin, a->getValue().size, a->getKey()) <
           std::tuple(b->getValue().begin, b->getValue().size, b->getKey());
  });
  uint64_t position = dataBegin;
  for (const auto *entry : order) {
    const StoredTensor &tensor = entry->getValue();
    if (tensor.begin != position)
      return makeError(
          "tensor " + quoted(entry->getKey()) + ": expected data from byte " +
          Twine(position - dataBegin) + ", where the tensor before ends, got " +
          Twine(tensor.begin - dataBegin));
    position += tensor.size;
  }
  if (position != fileSize)
    return makeError("expected " + Twine(position - dataBegin) +
                     " bytes of data, as the header says, got " +
                     Twine(dataSize));
  return llvm::Error::success();
}

llvm::Error SafetensorsFile::read(const StoredTensor &tensor, uint64_t offset,
                                  llvm::MutableArrayRef<char> bytes) const {
  if (offset > tensor.size || bytes.size() > tensor.size - offset)
    return makeError(path + ": expected to read within a tensor of " +
                     Twine(tensor.size) + " bytes");
  if (llvm::Error error = readAt(tensor.begin + offset, bytes))
    return makeError(path + ": " + llvm::toString(std::move(error)));
  return llvm::Error::success();
}

llvm::Error SafetensorsFile::readAt(uint64_t offset,
                                    llvm::MutableArrayRef<char> bytes) const {
  while (!bytes.empty()) {
    ssize_t count = ::pread(fd, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return makeError("cannot read: " + llvm::sys::StrError(errno));
    if (count == 0)
      return makeError("the file ended at byte " + Twine(offset) +
                       " while it was read");
    bytes = bytes.drop_front(count);
    offset += count;
  }
  return llvm::Error::success();
}
