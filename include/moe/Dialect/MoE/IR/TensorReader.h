//===- TensorReader.h - Where recipes read tensors from ---------*- C++ -*-===//
//
// The view that a recipe has of a checkpoint. The importer implements it over safetensors files.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_DIALECT_MOE_IR_TENSORREADER_H
#define MOE_DIALECT_MOE_IR_TENSORREADER_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace mlir::moe {

/// Named tensors, row major and little endian. Names are those of the checkpoint.
class TensorReader {
public:
  virtual ~TensorReader() = default;

  /// Fills `bytes` with part of tensor `name`, from byte `offset` of its data. Fails if there is no such tensor, if
  /// its type is not `type`, or if the file is too short.
  virtual llvm::Error read(llvm::StringRef name, RankedTensorType type, uint64_t offset,
                           llvm::MutableArrayRef<char> bytes) = 0;
};

} // namespace mlir::moe

#endif // MOE_DIALECT_MOE_IR_TENSORREADER_H
