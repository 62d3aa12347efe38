//===- Safetensors.h - Tensors in safetensors files -------------*- C++ -*-===//
//
// One safetensors file, and a checkpoint of one or more of them. Nothing in a
// file is trusted.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_IMPORT_SAFETENSORS_H
#define MOE_IMPORT_SAFETENSORS_H

#include "moe/Dialect/MoE/IR/TensorReader.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

#include <memory>
#include <string>
#include <vector>

namespace mlir::moe {

/// What the header of a safetensors file says of one tensor.
struct StoredTensor {
  llvm::StringRef type; ///< as the file spells it: "BF16"
  llvm::SmallVector<int64_t, 4> shape;
  uint64_t begin = 0; ///< bytes from the start of the file
  uint64_t size = 0;  ///< bytes

  /// The tensor's type; 8-bit types of either sign are i8.
  RankedTensorType getType(MLIRContext *context) const;
};

/// An open safetensors file whose header has been checked against its size.
/// Tensors are read one piece at a time.
class SafetensorsFile {
public:
  static llvm::Expected<std::unique_ptr<SafetensorsFile>>
  open(llvm::StringRef path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile &) = delete;
  SafetensorsFile &operator=(const SafetensorsFile &) = delete;

  const llvm::StringMap<StoredTensor> &getTensors() const { return tensors; }
  llvm::StringRef getPath() const { return path; }

  /// Fills `bytes` from byte `offset` of `tensor`, which is one of this file's.
  llvm::Error read(const StoredTensor &tensor, uint64_t offset,
                   llvm::MutableArrayRef<char> bytes) const;

private:
  SafetensorsFile(llvm::StringRef path, int fd) : path(path), fd(fd) {}
  llvm::Error readHeader();
  llvm::Error readAt(uint64_t offset, llvm::MutableArrayRef<char> bytes) const;

  std::string path;
  int fd;
  llvm::StringMap<StoredTensor> tensors;
};

/// The tensors of a model: one safetensors file, or the shards that an index
/// names.
class Checkpoint : public TensorReader {
public:
  /// A checkpoint of one file.
  static llvm::Expected<std::unique_ptr<Checkpoint>>
  openFile(llvm::StringRef path);
  /// A Hugging Face folder: model.safetensors, or model.safetensors.index.json
  /// with its shards.
  static llvm::Expected<std::unique_ptr<Checkpoint>>
  openFolder(llvm::StringRef folder);

  /// The tensor of that name, or null.
  const StoredTensor *lookup(llvm::StringRef name) const;

  /// The names of all tensors, sorted.
  std::vector<llvm::StringRef> getNames() const;

  /// File or folder, for messages.
  llvm::StringRef getPath() const { return path; }

  llvm::Error read(llvm::StringRef name, RankedTensorType type, uint64_t offset,
                   llvm::MutableArrayRef<char> bytes) override;

private:
  explicit Checkpoint(llvm::StringRef path) : path(path) {}
  llvm::Error openShards(llvm::StringRef folder, llvm::StringRef indexPath);

  struct Entry {
    const SafetensorsFile *file;
    const StoredTensor *tensor;
  };
  std::string path;
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  llvm::StringMap<Entry> entries;
};

} // namespace mlir::moe

#endif // MOE_IMPORT_SAFETENSORS_H
