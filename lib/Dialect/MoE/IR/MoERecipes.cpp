//===- MoERecipes.cpp - Recipes: verification and execution ---------------===//
//
// How program tensors are made from checkpoint tensors. Everything is streamed:
// a recipe holds at most a few pieces in memory, except a transposition, which
// holds the tensor that it transposes.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "llvm/Support/Errc.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <limits>
#include <optional>
#include <vector>

using namespace mlir;
using namespace mlir::moe;

namespace {

using Sink = llvm::function_ref<llvm::Error(ArrayRef<char>)>;
using EmitError = llvm::function_ref<InFlightDiagnostic()>;

/// Bytes read from a checkpoint at a time: large enough for the disk, small
/// enough to stay in cache.
constexpr uint64_t kPieceBytes = 1 << 20;

/// Bytes of one element as checkpoints store it; none for types that
/// checkpoints cannot hold.
std::optional<int64_t> getElementBytes(Type type) {
  if (!type.isIntOrFloat())
    return std::nullopt;
  unsigned bits = type.getIntOrFloatBitWidth();
  if (bits == 1)
    return 1;
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64)
    return std::nullopt;
  return bits / 8;
}

/// Bytes of a tensor that passed `verifyTensorType`.
uint64_t getBytes(RankedTensorType type) {
  return static_cast<uint64_t>(type.getNumElements()) *
         *getElementBytes(type.getElementType());
}

/// Refuses tensors that no file can hold, so that sizes computed later never
/// overflow.
LogicalResult verifyTensorType(EmitError emitError, RankedTensorType type) {
  if (!type.hasStaticShape())
    return emitError() << "expected a recipe of static shape, got " << type;
  if (type.getEncoding())
    return emitError() << "expected a recipe without encoding, got " << type;
  std::optional<int64_t> bytes = getElementBytes(type.getElementType());
  if (!bytes)
    return emitError() << "expected elements of 1, 8, 16, 32 or 64 bits, got "
                       << type.getElementType();
  int64_t total = *bytes;
  for (int64_t extent : type.getShape())
    if (llvm::MulOverflow(total, std::max<int64_t>(extent, 1), total))
      return emitError() << "expected a tensor of less than 2^63 bytes, got "
                         << type;
  return success();
}

LogicalResult verifyParts(EmitError emitError,
                          ArrayRef<RecipeAttrInterface> parts) {
  if (parts.empty())
    return emitError() << "expected at least one part";
  return success();
}

RankedTensorType withShape(RankedTensorType type, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, type.getElementType());
}

/// Writes bytes [offset, offset + size) of what `recipe` makes, reading no more
/// than needed where possible.
llvm::Error writeRange(RecipeAttrInterface recipe, uint64_t offset,
                       uint64_t size, TensorReader &reader, Sink sink);

llvm::Error writeSourceRange(SourceAttr source, uint64_t offset, uint64_t size,
                             TensorReader &reader, Sink sink) {
  std::vector<char> piece(std::min(size, kPieceBytes));
  for (uint64_t done = 0; done < size;) {
    MutableArrayRef<char> bytes(piece.data(),
                                std::min<uint64_t>(piece.size(), size - done));
    if (llvm::Error error = reader.read(source.getName(), source.getType(),
                                        offset + done, bytes))
      return error;
    if (llvm::Error error = sink(bytes))
      return error;
    done += bytes.size();
  }
  return llvm::Error::success();
}

llvm::Error writePartsRange(ArrayRef<RecipeAttrInterface> parts,
                            uint64_t offset, uint64_t size,
                            TensorReader &reader, Sink sink) {
  for (RecipeAttrInterface part : parts) {
    uint64_t partBytes = getBytes(part.getTensorType());
    if (offset >= partBytes) {
      offset -= partBytes;
      continue;
    }
    uint64_t taken = std::min(size, partBytes - offset);
    if (taken == 0)
      break;
    if (llvm::Error error = writeRange(part, offset, taken, reader, sink))
      return error;
    size -= taken;
    offset = 0;
  }
  return llvm::Error::success();
}

llvm::Error writeRange(RecipeAttrInterface recipe, uint64_t offset,
                       uint64_t size, TensorReader &reader, Sink sink) {
  if (auto source = dyn_cast<SourceAttr>(recipe))
    return writeSourceRange(source, offset, size, reader, sink);
  if (auto stack = dyn_cast<StackAttr>(recipe))
    return writePartsRange(stack.getParts(), offset, size, reader, sink);
  if (auto concat = dyn_cast<ConcatAttr>(recipe))
    return writePartsRange(concat.getParts(), offset, size, reader, sink);
  if (auto reshape = dyn_cast<ReshapeAttr>(recipe))
    return writeRange(reshape.getPart(), offset, size, reader, sink);

  // Anything else is made whole, and what lies outside the range is dropped.
  uint64_t position = 0;
  return recipe.write(reader, [&](ArrayRef<char> bytes) -> llvm::Error {
    uint64_t begin = std::max(position, offset),
             end = std::min(position + bytes.size(), offset + size);
    uint64_t start = position;
    position += bytes.size();
    if (begin >= end)
      return llvm::Error::success();
    return sink(bytes.slice(begin - start, end - begin));
  });
}

/// What a whole recipe makes, in memory.
llvm::Expected<std::vector<char>> materialise(RecipeAttrInterface recipe,
                                              TensorReader &reader) {
  uint64_t size = getBytes(recipe.getTensorType());
  std::vector<char> data;
  data.reserve(size);
  llvm::Error error =
      recipe.write(reader, [&](ArrayRef<char> bytes) -> llvm::Error {
        data.insert(data.end(), bytes.begin(), bytes.end());
        return llvm::Error::success();
      });
  if (error)
    return std::move(error);
  assert(data.size() == size &&
         "a recipe makes as many bytes as its type says");
  return std::move(data);
}

/// Transposes `rows` of `columns` elements each into [columns, width], columns
/// from `rows` on zero. Blocks of 16 columns keep both sides in the first-level
/// cache.
template <typename T>
void packPanel(const char *source, char *target, int64_t rows, int64_t columns,
               int64_t width) {
  constexpr int64_t kBlock = 16;
  std::memset(target, 0, rows < width ? columns * width * sizeof(T) : 0);
  for (int64_t block = 0; block < columns; block += kBlock) {
    int64_t end = std::min(columns, block + kBlock);
    for (int64_t row = 0; row < rows; ++row) {
      const char *from = source + (row * columns + block) * sizeof(T);
      char *to = target + (block * width + row) * sizeof(T);
      for (int64_t column = block; column < end;
           ++column, from += sizeof(T), to += width * sizeof(T))
        std::memcpy(to, from, sizeof(T));
    }
  }
}

void packPanel(int64_t elementBytes, const char *source, char *target,
               int64_t rows, int64_t columns, int64_t width) {
  switch (elementBytes) {
  case 1:
    return packPanel<uint8_t>(source, target, rows, columns, width);
  case 2:
    return packPanel<uint16_t>(source, target, rows, columns, width);
  case 4:
    return packPanel<uint32_t>(source, target, rows, columns, width);
  default:
    return packPanel<uint64_t>(source, target, rows, columns, width);
  }
}

/// Packs a stream of [N, K] matrices panel by panel. Each panel is a contiguous
/// run of rows, so only one that is cut by the pieces of the stream is copied
/// together first.
class PanelPacker {
public:
  PanelPacker(int64_t outputs, int64_t depth, int64_t width,
              int64_t elementBytes, Sink sink)
      : outputs(outputs), depth(depth), width(width),
        elementBytes(elementBytes), sink(sink),
        packed(width * depth * elementBytes) {}

  llvm::Error add(ArrayRef<char> bytes) {
    while (!bytes.empty()) {
      uint64_t needed = getRows() * depth * elementBytes;
      if (pending.empty() && bytes.size() >= needed) {
        if (llvm::Error error = flush(bytes.data()))
          return error;
        bytes = bytes.drop_front(needed);
        continue;
      }
      uint64_t taken =
          std::min<uint64_t>(bytes.size(), needed - pending.size());
      pending.insert(pending.end(), bytes.begin(), bytes.begin() + taken);
      bytes = bytes.drop_front(taken);
      if (pending.size() < needed)
        continue;
      if (llvm::Error error = flush(pending.data()))
        return error;
      pending.clear();
    }
    return llvm::Error::success();
  }

private:
  int64_t getRows() const { return std::min(width, outputs - firstRow); }

  llvm::Error flush(const char *source) {
    packPanel(elementBytes, source, packed.data(), getRows(), depth, width);
    firstRow += getRows();
    if (firstRow == outputs)
      firstRow = 0;
    return sink(packed);
  }

  int64_t outputs, depth, width, elementBytes;
  Sink sink;
  std::vector<char> packed, pending;
  int64_t firstRow = 0; // of the next panel, in its matrix
};

} // namespace

//===----------------------------------------------------------------------===//
// Source
//===----------------------------------------------------------------------===//

LogicalResult SourceAttr::verify(EmitError emitError, StringRef name,
                                 RankedTensorType type) {
  if (name.empty())
    return emitError() << "expected the name of a tensor, got ''";
  return verifyTensorType(emitError, type);
}

RankedTensorType SourceAttr::getTensorType() const { return getType(); }

llvm::Error SourceAttr::write(TensorReader &reader, Sink sink) const {
  return writeSourceRange(*this, 0, getBytes(getType()), reader, sink);
}

//===----------------------------------------------------------------------===//
// Stack and concatenation
//===----------------------------------------------------------------------===//

LogicalResult StackAttr::verify(EmitError emitError,
                                ArrayRef<RecipeAttrInterface> parts) {
  if (failed(verifyParts(emitError, parts)))
    return failure();
  RankedTensorType first = parts.front().getTensorType();
  for (auto [index, part] : llvm::enumerate(parts))
    if (part.getTensorType() != first)
      return emitError() << "expected parts of one type to stack, got " << first
                         << " and, as part " << index << ", "
                         << part.getTensorType();
  SmallVector<int64_t> shape{static_cast<int64_t>(parts.size())};
  llvm::append_range(shape, first.getShape());
  return verifyTensorType(emitError, withShape(first, shape));
}

RankedTensorType StackAttr::getTensorType() const {
  RankedTensorType first = getParts().front().getTensorType();
  SmallVector<int64_t> shape{static_cast<int64_t>(getParts().size())};
  llvm::append_range(shape, first.getShape());
  return withShape(first, shape);
}

llvm::Error StackAttr::write(TensorReader &reader, Sink sink) const {
  for (RecipeAttrInterface part : getParts())
    if (llvm::Error error = part.write(reader, sink))
      return error;
  return llvm::Error::success();
}

LogicalResult ConcatAttr::verify(EmitError emitError,
                                 ArrayRef<RecipeAttrInterface> parts) {
  if (failed(verifyParts(emitError, parts)))
    return failure();
  RankedTensorType first = parts.front().getTensorType();
  int64_t extent = 0;
  for (auto [index, part] : llvm::enumerate(parts)) {
    RankedTensorType type = part.getTensorType();
    if (type.getRank() == 0)
      return emitError() << "expected parts of rank 1 or more to join, got "
                         << type;
    if (type.getElementType() != first.getElementType() ||
        type.getShape().drop_front() != first.getShape().drop_front())
      return emitError()
             << "expected parts that differ in the first extent only, got "
             << first << " and, as part " << index << ", " << type;
    if (llvm::AddOverflow(extent, type.getDimSize(0), extent))
      return emitError() << "expected a first extent below 2^63";
  }
  SmallVector<int64_t> shape(first.getShape());
  shape.front() = extent;
  return verifyTensorType(emitError, withShape(first, shape));
}

RankedTensorType ConcatAttr::getTensorType() const {
  RankedTensorType first = getParts().front().getTensorType();
  SmallVector<int64_t> shape(first.getShape());
  shape.front() = 0;
  for (RecipeAttrInterface part : getParts())
    shape.front() += part.getTensorType().getDimSize(0);
  return withShape(first, shape);
}

llvm::Error ConcatAttr::write(TensorReader &reader, Sink sink) const {
  for (RecipeAttrInterface part : getParts())
    if (llvm::Error error = part.write(reader, sink))
      return error;
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Slice, transposition, reshape
//===----------------------------------------------------------------------===//

LogicalResult SliceAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                int64_t offset, int64_t size) {
  RankedTensorType type = part.getTensorType();
  if (type.getRank() == 0)
    return emitError() << "expected a part of rank 1 or more to slice, got "
                       << type;
  int64_t extent = type.getDimSize(0);
  if (offset < 0 || size < 0 || offset > extent || size > extent - offset)
    return emitError() << "expected a slice within [0, " << extent
                       << "), got offset " << offset << " and size " << size;
  return success();
}

RankedTensorType SliceAttr::getTensorType() const {
  RankedTensorType type = getPart().getTensorType();
  SmallVector<int64_t> shape(type.getShape());
  shape.front() = getSize();
  return withShape(type, shape);
}

llvm::Error SliceAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getTensorType();
  uint64_t entry = getBytes(withShape(type, type.getShape().drop_front()));
  return writeRange(getPart(), getOffset() * entry, getSize() * entry, reader,
                    sink);
}

LogicalResult TransposeAttr::verify(EmitError emitError,
                                    RecipeAttrInterface part,
                                    ArrayRef<int64_t> permutation) {
  int64_t rank = part.getTensorType().getRank();
  SmallVector<bool> seen(rank, false);
  bool valid = static_cast<int64_t>(permutation.size()) == rank;
  for (int64_t dimension : permutation) {
    valid = valid && dimension >= 0 && dimension < rank && !seen[dimension];
    if (valid)
      seen[dimension] = true;
  }
  if (!valid)
    return emitError() << "expected a permutation of the " << rank
                       << " dimensions of the part";
  return success();
}

RankedTensorType TransposeAttr::getTensorType() const {
  RankedTensorType type = getPart().getTensorType();
  SmallVector<int64_t> shape;
  for (int64_t dimension : getPermutation())
    shape.push_back(type.getDimSize(dimension));
  return withShape(type, shape);
}

llvm::Error TransposeAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getTensorType();
  int64_t elements = type.getNumElements(),
          elementBytes = *getElementBytes(type.getElementType());
  if (elements == 0)
    return llvm::Error::success();
  llvm::Expected<std::vector<char>> data = materialise(getPart(), reader);
  if (!data)
    return data.takeError();

  // Strides of the part, in the order of the result's dimensions.
  ArrayRef<int64_t> partShape = getPart().getTensorType().getShape(),
                    shape = type.getShape();
  SmallVector<int64_t> partStrides(partShape.size(), elementBytes), strides;
  for (int64_t i = static_cast<int64_t>(partShape.size()) - 2; i >= 0; --i)
    partStrides[i] = partStrides[i + 1] * partShape[i + 1];
  for (int64_t dimension : getPermutation())
    strides.push_back(partStrides[dimension]);

  std::vector<char> piece;
  SmallVector<int64_t> index(shape.size(), 0);
  int64_t from = 0;
  for (int64_t element = 0; element < elements; ++element) {
    piece.insert(piece.end(), data->begin() + from,
                 data->begin() + from + elementBytes);
    if (piece.size() >= kPieceBytes || element + 1 == elements) {
      if (llvm::Error error = sink(piece))
        return error;
      piece.clear();
    }
    for (int64_t i = static_cast<int64_t>(shape.size()) - 1; i >= 0; --i) {
      from += strides[i];
      if (++index[i] < shape[i])
        break;
      from -= strides[i] * shape[i];
      index[i] = 0;
    }
  }
  return llvm::Error::success();
}

LogicalResult ReshapeAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                  RankedTensorType type) {
  RankedTensorType from = part.getTensorType();
  if (failed(verifyTensorType(emitError, type)))
    return failure();
  if (from.getElementType() != type.getElementType() ||
      from.getNumElements() != type.getNumElements())
    return emitError() << "expected as many elements of the same type, got "
                       << from << " reshaped to " << type;
  return success();
}

RankedTensorType ReshapeAttr::getTensorType() const { return getType(); }

llvm::Error ReshapeAttr::write(TensorReader &reader, Sink sink) const {
  return getPart().write(reader, sink);
}

//===----------------------------------------------------------------------===//
// Panels
//===----------------------------------------------------------------------===//

namespace {
RankedTensorType getPanelsType(RankedTensorType type, int64_t width) {
  SmallVector<int64_t> shape(type.getShape());
  int64_t depth = shape.pop_back_val(), outputs = shape.pop_back_val();
  shape.append(
      {static_cast<int64_t>(llvm::divideCeil(static_cast<uint64_t>(outputs),
                                             static_cast<uint64_t>(width))),
       depth, width});
  return withShape(type, shape);
}
} // namespace

LogicalResult PanelsAttr::verify(EmitError emitError, RecipeAttrInterface part,
                                 int64_t width) {
  RankedTensorType type = part.getTensorType();
  if (type.getRank() < 2)
    return emitError() << "expected a part [..., N, K] to pack, got " << type;
  if (width < 1 || width > 4096)
    return emitError() << "expected a panel width from 1 to 4096, got "
                       << width;
  return verifyTensorType(emitError, getPanelsType(type, width));
}

RankedTensorType PanelsAttr::getTensorType() const {
  return getPanelsType(getPart().getTensorType(), getWidth());
}

llvm::Error PanelsAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getPart().getTensorType();
  if (type.getNumElements() == 0)
    return llvm::Error::success();
  PanelPacker packer(type.getDimSize(type.getRank() - 2),
                     type.getDimSize(type.getRank() - 1), getWidth(),
                     *getElementBytes(type.getElementType()), sink);
  return getPart().write(
      reader, [&](ArrayRef<char> bytes) { return packer.add(bytes); });
}

//===----------------------------------------------------------------------===//
// Bank recipe
//===----------------------------------------------------------------------===//

LogicalResult BankRecipeAttr::verify(EmitError emitError,
                                     ArrayRef<RecipeAttrInterface> components) {
  if (components.empty())
    return emitError() << "expected at least one component";
  for (auto [index, component] : llvm::enumerate(components)) {
    RankedTensorType type = component.getTensorType(),
                     first = components.front().getTensorType();
    if (type.getRank() == 0)
      return emitError()
             << "expected components whose first extent is the expert, got "
             << type;
    if (type.getDimSize(0) != first.getDimSize(0))
      return emitError() << "expected " << first.getDimSize(0)
                         << " experts in each component, got "
                         << type.getDimSize(0) << " in component " << index;
  }
  return success();
}
