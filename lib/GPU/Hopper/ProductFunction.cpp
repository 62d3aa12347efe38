//===- ProductFunction.cpp - Functions that stand for products ------------===//
//
// Reads a function's attribute and the types of its arguments.
//
//===----------------------------------------------------------------------===//

#include "ProductFunction.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

LogicalResult Product::read(func::FuncOp source) {
  function = source;
  auto attr = source->getAttrOfType<DictionaryAttr>(kProductAttr);
  if (!attr)
    return source.emitError() << "expected '" << kProductAttr << "' to be a dictionary";
  auto getCount = [&](StringRef name, int64_t otherwise) {
    auto count = attr.getAs<IntegerAttr>(name);
    return count ? count.getInt() : otherwise;
  };
  banks = getCount("banks", 1);
  vectors = getCount("vectors", 0);
  k = getCount("k", 0);
  gathered = attr.contains("gathered");
  dense = attr.contains("dense");
  mapped = attr.contains(kMappedEntry);
  epilogue = attr.getAs<FlatSymbolRefAttr>("epilogue");
  auto rows = attr.getAs<FloatAttr>("rows_per_expert");
  rowsPerExpert = rows ? rows.getValueAsDouble() : 0;
  maxRows = getCount("max_rows", 0);
  if ((rowsPerExpert > 0) == (maxRows > 0))
    return source.emitError() << "expected either 'rows_per_expert' or 'max_rows' above 0 in '" << kProductAttr << "'";
  if (failed(verify()))
    return failure();
  if (!attr.contains("k"))
    k = getType(0).getDimSize(1);
  return success();
}

LogicalResult Product::verify() {
  if (banks < 1 || vectors < 0 || function.getNumArguments() != getOut() + 1 || function.getNumResults() != 0)
    return function.emitError() << "expected tokens, " << (gathered ? "indices, " : "") << banks << " banks, "
                                << vectors << " vectors, " << (dense ? "the number of rows" : "offsets, tile map")
                                << " and output as arguments, and no result";
  auto expect = [&](unsigned argument, int64_t rank, StringRef what) -> LogicalResult {
    MemRefType type = getType(argument);
    if (type && type.getRank() == rank)
      return success();
    return function.emitError() << "expected argument " << argument << ", the " << what << ", to be a memref of rank "
                                << rank;
  };
  if (failed(expect(0, 2, "tokens")) || failed(expect(getOut(), 2, "output")) ||
      (gathered && failed(expect(getIndices(), 1, "indices"))))
    return failure();
  if (dense && !function.getArgumentTypes()[getRows()].isIndex())
    return function.emitError() << "expected argument " << getRows() << ", the number of rows, to be an index";
  if (!dense && (failed(expect(getOffsets(), 1, "offsets")) || failed(expect(getTileMap(), 1, "tile map"))))
    return failure();
  for (int64_t bank = 0; bank < banks; ++bank)
    if (failed(expect(getBank(bank), 3, "bank")))
      return failure();
  for (int64_t vector = 0; vector < vectors; ++vector)
    if (failed(expect(getVector(vector), 2, "vector")))
      return failure();
  if (dense && getExperts() != 1)
    return function.emitError() << "expected dense rows to be of one expert, got " << getExperts();
  return success();
}

std::optional<int64_t> hopper::getPitch(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0 || strides.back() != 1)
    return std::nullopt;
  int64_t pitch = strides[type.getRank() - 2];
  if (ShapedType::isDynamic(pitch) ||
      (type.getRank() == 3 && strides[0] != pitch * type.getDimSize(1)))
    return std::nullopt;
  return pitch;
}

std::optional<std::string> hopper::fillOptions(Product &product, GroupedMatmulKernelOptions &options) {
  MemRefType tokens = product.getType(0), bank = product.getType(product.getBank(0)),
             out = product.getType(product.getOut());
  options.name = product.function.getName().str();
  options.k = product.k;
  options.columns = bank.getDimSize(1);
  options.banks = product.banks;
  options.gathered = product.gathered;
  options.dense = product.dense;
  options.outType = out.getElementType();
  if (product.gathered)
    options.indexType = getWord(product.getType(product.getIndices()).getElementType());
  for (int64_t vector = 0; vector < product.vectors; ++vector)
    options.vectors.push_back(product.getType(product.getVector(vector)).getElementType());
  if (!tokens.getElementType().isBF16() || !bank.getElementType().isBF16())
    return "expected tokens and banks of bf16";
  for (int64_t other = 0; other < product.banks; ++other)
    if (product.getType(product.getBank(other)) != bank)
      return "expected banks of one type";
  bool matches = bank.getDimSize(2) == tokens.getDimSize(1) && options.k <= tokens.getDimSize(1) &&
                 options.columns <= out.getDimSize(1);
  if (!bank.hasStaticShape() || !matches)
    return "expected banks of static size that match tokens and output";
  std::optional<int64_t> pitches[] = {getPitch(tokens), getPitch(bank), getPitch(out)};
  if (!llvm::all_of(pitches, [](auto pitch) { return pitch.has_value(); }))
    return "expected rows at a constant distance from the buffer's beginning on";
  options.tokenPitch = *pitches[0];
  options.bankPitch = *pitches[1];
  options.outPitch = *pitches[2];
  return std::nullopt;
}

std::vector<TileClass> hopper::chooseTiles(Product &product, const GroupedMatmulKernelOptions &options,
                                           int64_t tokenTile) {
  double rowsPerExpert =
      product.rowsPerExpert ? product.rowsPerExpert : double(product.maxRows) / double(product.getExperts());
  ProductFacts facts{product.getExperts(), options.k, options.columns, options.banks, options.gathered, rowsPerExpert};
  if (tokenTile)
    return {{product.maxRows, facts, evaluateTile(facts, tokenTile)}};
  if (product.maxRows)
    return chooseClasses(facts, product.maxRows);
  return {{0, facts, chooseTile(facts)}};
}
