//===- MoERecipeExecution.cpp - Makes program tensors ---------------------===//
//
// Everything is streamed: a recipe holds at most a few pieces in memory, except
// a transposition, which holds one entry of the dimensions in front that stay.
//
//===----------------------------------------------------------------------===//

#include "moe/Dialect/MoE/IR/MoE.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <functional>
#include <vector>

using namespace mlir;
using namespace mlir::moe;

namespace {

using Sink = llvm::function_ref<llvm::Error(ArrayRef<char>)>;

/// Bytes read from a checkpoint at a time: large enough for the disk, small
/// enough to stay in cache.
constexpr uint64_t kPieceBytes = 1 << 20;

/// Bytes of one element; verification admits no others than whole bytes and i1,
/// which is stored as one.
int64_t getElementBytes(Type type) {
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8u);
}

uint64_t getBytes(RankedTensorType type) {
  return static_cast<uint64_t>(type.getNumElements()) *
         getElementBytes(type.getElementType());
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

/// Cuts a stream into blocks, of as many bytes as `next` says before each; one
/// that lies within a piece is passed on as it is.
class BlockStream {
public:
  BlockStream(std::function<uint64_t()> next,
              std::function<llvm::Error(ArrayRef<char>)> sink)
      : next(std::move(next)), sink(std::move(sink)) {}
  BlockStream(uint64_t blockBytes,
              std::function<llvm::Error(ArrayRef<char>)> sink)
      : BlockStream([=] { return blockBytes; }, std::move(sink)) {}

  llvm::Error add(ArrayRef<char> bytes) {
    while (!bytes.empty()) {
      uint64_t needed = next();
      if (pending.empty() && bytes.size() >= needed) {
        if (llvm::Error error = sink(bytes.take_front(needed)))
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
      if (llvm::Error error = sink(pending))
        return error;
      pending.clear();
    }
    return llvm::Error::success();
  }

private:
  std::function<uint64_t()> next;
  std::function<llvm::Error(ArrayRef<char>)> sink;
  std::vector<char> pending;
};

/// Product of extents, times the bytes of an element.
uint64_t getBytes(ArrayRef<int64_t> shape, Type element) {
  return getBytes(RankedTensorType::get(shape, element));
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
/// run of rows.
class PanelPacker {
public:
  PanelPacker(int64_t outputs, int64_t depth, int64_t width,
              int64_t elementBytes, Sink sink)
      : outputs(outputs), depth(depth), width(width),
        elementBytes(elementBytes), sink(sink),
        packed(width * depth * elementBytes),
        panels([this] { return getRows() * this->depth * this->elementBytes; },
               [this](ArrayRef<char> rows) { return flush(rows.data()); }) {}

  llvm::Error add(ArrayRef<char> bytes) { return panels.add(bytes); }

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
  std::vector<char> packed;
  int64_t firstRow = 0; // of the next panel, in its matrix
  BlockStream panels;
};

} // namespace

llvm::Error SourceAttr::write(TensorReader &reader, Sink sink) const {
  return writeSourceRange(*this, 0, getBytes(getType()), reader, sink);
}

llvm::Error StackAttr::write(TensorReader &reader, Sink sink) const {
  for (RecipeAttrInterface part : getParts())
    if (llvm::Error error = part.write(reader, sink))
      return error;
  return llvm::Error::success();
}

llvm::Error ConcatAttr::write(TensorReader &reader, Sink sink) const {
  for (RecipeAttrInterface part : getParts())
    if (llvm::Error error = part.write(reader, sink))
      return error;
  return llvm::Error::success();
}

llvm::Error SliceAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getPart().getTensorType();
  ArrayRef<int64_t> shape = type.getShape();
  uint64_t entry =
      getBytes(shape.drop_front(getDim() + 1), type.getElementType());
  if (getTensorType().getNumElements() == 0)
    return llvm::Error::success();
  if (getDim() == 0 && getStride() == 1)
    return writeRange(getPart(), getOffset() * entry, getSize() * entry, reader,
                      sink);
  // The part passes by once, and from each of its rows what is wanted is kept.
  std::vector<char> kept(getSize() * entry);
  BlockStream rows(
      shape[getDim()] * entry, [&](ArrayRef<char> row) -> llvm::Error {
        const char *from = row.data() + getOffset() * entry;
        if (getStride() == 1)
          return sink(ArrayRef(from, kept.size()));
        for (uint64_t i = 0, to = 0; to < kept.size(); ++i, to += entry)
          std::memcpy(kept.data() + to, from + i * getStride() * entry, entry);
        return sink(kept);
      });
  return getPart().write(
      reader, [&](ArrayRef<char> bytes) { return rows.add(bytes); });
}

namespace {
/// Hands `block`, a tensor of that shape, to `sink` with its dimensions
/// permuted.
llvm::Error writeTransposed(ArrayRef<char> block, ArrayRef<int64_t> shape,
                            ArrayRef<int64_t> permutation, int64_t elementBytes,
                            Sink sink) {
  if (permutation == ArrayRef<int64_t>{1, 0}) {
    std::vector<char> turned(block.size());
    packPanel(elementBytes, block.data(), turned.data(), shape[0], shape[1],
              /*width=*/shape[0]);
    return sink(turned);
  }
  SmallVector<int64_t> strides(shape.size(), elementBytes);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  std::vector<char> piece;
  SmallVector<int64_t> index(shape.size(), 0);
  int64_t elements = block.size() / elementBytes, from = 0;
  for (int64_t element = 0; element < elements; ++element) {
    piece.insert(piece.end(), block.begin() + from,
                 block.begin() + from + elementBytes);
    if (piece.size() >= kPieceBytes || element + 1 == elements) {
      if (llvm::Error error = sink(piece))
        return error;
      piece.clear();
    }
    for (int64_t i = static_cast<int64_t>(shape.size()) - 1; i >= 0; --i) {
      int64_t dimension = permutation[i];
      from += strides[dimension];
      if (++index[i] < shape[dimension])
        break;
      from -= strides[dimension] * shape[dimension];
      index[i] = 0;
    }
  }
  return llvm::Error::success();
}
} // namespace

llvm::Error TransposeAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getPart().getTensorType();
  if (type.getNumElements() == 0)
    return llvm::Error::success();
  // Dimensions in front that stay where they are only repeat the same.
  ArrayRef<int64_t> permutation = getPermutation();
  size_t kept = 0;
  while (kept < permutation.size() &&
         permutation[kept] == static_cast<int64_t>(kept))
    ++kept;
  if (kept == permutation.size())
    return getPart().write(reader, sink);
  SmallVector<int64_t> inner = llvm::map_to_vector(
      permutation.drop_front(kept),
      [&](int64_t dimension) -> int64_t { return dimension - kept; });
  ArrayRef<int64_t> shape = type.getShape().drop_front(kept);
  int64_t elementBytes = getElementBytes(type.getElementType());
  BlockStream blocks(
      getBytes(shape, type.getElementType()), [&](ArrayRef<char> block) {
        return writeTransposed(block, shape, inner, elementBytes, sink);
      });
  return getPart().write(
      reader, [&](ArrayRef<char> bytes) { return blocks.add(bytes); });
}

llvm::Error ReshapeAttr::write(TensorReader &reader, Sink sink) const {
  return getPart().write(reader, sink);
}

llvm::Error PanelsAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getPart().getTensorType();
  if (type.getNumElements() == 0)
    return llvm::Error::success();
  PanelPacker packer(type.getDimSize(type.getRank() - 2),
                     type.getDimSize(type.getRank() - 1), getWidth(),
                     getElementBytes(type.getElementType()), sink);
  return getPart().write(
      reader, [&](ArrayRef<char> bytes) { return packer.add(bytes); });
}

llvm::Error PadAttr::write(TensorReader &reader, Sink sink) const {
  RankedTensorType type = getPart().getTensorType();
  int64_t elementBytes = getElementBytes(type.getElementType());
  uint64_t rowBytes = type.getShape().back() * elementBytes;
  std::vector<char> padded(getSize() * elementBytes, 0);
  BlockStream rows(rowBytes, [&](ArrayRef<char> row) {
    llvm::copy(row, padded.begin());
    return sink(padded);
  });
  return getPart().write(
      reader, [&](ArrayRef<char> bytes) { return rows.add(bytes); });
}
