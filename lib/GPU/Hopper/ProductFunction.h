//===- ProductFunction.h - Functions that stand for products ----*- C++ -*-===//
//
// What moe-gpu-lower-grouped-matmul-hopper reads of a function, and the host code that it writes into it.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_GPU_HOPPER_PRODUCTFUNCTION_H
#define MOE_GPU_HOPPER_PRODUCTFUNCTION_H

#include "moe/GPU/Hopper/CostModel.h"
#include "moe/GPU/Hopper/GroupedMatmul.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::moe::hopper {

constexpr llvm::StringLiteral kProductAttr = "hopper.grouped_matmul", kKernelAttr = "hopper.kernel";
constexpr llvm::StringLiteral kKernelModule = "moe_hopper";
/// In the description of a product: the tile map that it is handed is written.
constexpr llvm::StringLiteral kMappedEntry = "mapped";

/// The arguments of a function that is one product, by meaning.
struct Product {
  func::FuncOp function;
  int64_t banks = 1, vectors = 0;
  /// Elements that are summed over; rows of tokens and banks may be longer.
  int64_t k = 0;
  bool gathered = false;
  /// All rows are of one expert: their number stands in place of offsets and tile map.
  bool dense = false;
  /// The launch of the plan writes the tile map.
  bool mapped = false;
  /// One of them is known: what an expert has on average, or what all experts have together at most.
  double rowsPerExpert = 0;
  int64_t maxRows = 0;
  FlatSymbolRefAttr epilogue;

  /// Argument numbers in order.
  unsigned getIndices() const { return 1; }
  unsigned getBank(int64_t bank) const { return 1 + gathered + bank; }
  unsigned getVector(int64_t vector) const { return getBank(banks) + vector; }
  unsigned getRows() const { return getVector(vectors); }
  unsigned getOffsets() const { return getVector(vectors); }
  unsigned getTileMap() const { return getOffsets() + 1; }
  bool hasMapKernel() const { return !dense && !mapped; }
  unsigned getOut() const { return dense ? getRows() + 1 : getTileMap() + 1; }

  MemRefType getType(unsigned argument) {
    return dyn_cast<MemRefType>(function.getArgumentTypes()[argument]);
  }
  int64_t getExperts() { return getType(getBank(0)).getDimSize(0); }

  LogicalResult read(func::FuncOp source);
  LogicalResult verify();
};

/// Elements from row to row, or nothing for a layout that no pitch describes.
std::optional<int64_t> getPitch(MemRefType type);

/// How the device holds `type`: an index has 64 bits there.
inline Type getWord(Type type) { return type.isIndex() ? IntegerType::get(type.getContext(), 64) : type; }

/// What the kernel does, or why tensor cores cannot do `product`.
std::optional<std::string> fillOptions(Product &product, GroupedMatmulKernelOptions &options);

/// Tiles for how many rows, as the model or `tokenTile`, where it is not 0, says.
std::vector<TileClass> chooseTiles(Product &product, const GroupedMatmulKernelOptions &options, int64_t tokenTile);

/// The kernels for calls of up to `maxRows` rows, and their numbers. Dense and mapped products have none for the map.
struct KernelClass {
  int64_t maxRows;
  GroupedMatmulKernelOptions options;
  std::string mapName;
  int64_t mapNumber, number;
};

/// Writes the body of the product's function: which class runs how many rows, and its launches. `module` gets the
/// declarations of the runtime's functions.
void buildHostCode(ModuleOp module, Product &product, ArrayRef<KernelClass> classes, int64_t multiprocessors);

} // namespace mlir::moe::hopper

#endif // MOE_GPU_HOPPER_PRODUCTFUNCTION_H
