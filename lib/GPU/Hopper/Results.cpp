//===- Results.cpp - Epilogue and stores ----------------------------------===//
//
// A thread's registers hold few columns of many tokens; memory holds tokens one after the other. Each warp turns its
// sums around in a corner of shared memory of its own, some tokens at a time, and stores 16 bytes per lane. Every
// output is written by one thread: no order of blocks or warps matters.
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

namespace {
/// Writes the results of one item.
class Results {
public:
  Results(const DeviceBuilder &d, const KernelContext &kernel, const Work &work) : d(d), kernel(kernel), work(work) {}

  LogicalResult build(ArrayRef<Value> sums);

private:
  bool isWide() const { return kernel.options.outType.isF32(); }
  void loadVectors();
  FailureOr<Value> apply(ArrayRef<Value> sums, int64_t index);
  LogicalResult buildNarrow(ArrayRef<Value> sums);
  LogicalResult buildWide(ArrayRef<Value> sums);
  FailureOr<Value> buildPair(ArrayRef<Value> sums, int64_t index);
  void syncWarp() { NVVM::SyncWarpOp::create(d.b, d.loc, d.constant(-1)); }
  void buildStore(const DeviceBuilder &lane, Value token, Value column, Value offset);
  void buildTail(const DeviceBuilder &nested, Value target, Value column, Value source);

  const DeviceBuilder &d;
  const KernelContext &kernel;
  const Work &work;
  Value corner;
  /// By half of the warp's rows: the vectors' elements.
  SmallVector<SmallVector<Value>> vectors;
};
} // namespace

/// A thread's columns are few: vectors are read once per item.
void Results::loadVectors() {
  int64_t halves = kernel.shape.banks == 1 ? 2 : 1;
  vectors.resize(halves);
  for (int64_t half = 0; half < halves; ++half) {
    Value column = buildRegisterColumn(d, kernel.shape, kernel.consumer, kernel.thread, half);
    column = d.add(column, d.mul(work.column, kernel.shape.getTileColumns()));
    // Columns that do not exist read the last one; nothing is written for them.
    column = d.min(column, d.constant(kernel.shape.columns - 1));
    Value place = d.add(d.mul(work.expert, kernel.shape.columns), column);
    for (auto [type, vector] : llvm::zip_equal(kernel.options.vectors, kernel.vectors)) {
      Value element = d.load(type, d.address(vector, type, place), type.getIntOrFloatBitWidth() / 8);
      if (!type.isF32())
        element = arith::ExtFOp::create(d.b, d.loc, d.b.getF32Type(), element);
      vectors[half].push_back(element);
    }
  }
}

/// The result that belongs to register `index`; with two banks, `index` is of the first.
FailureOr<Value> Results::apply(ArrayRef<Value> sums, int64_t index) {
  SmallVector<Value> products = {sums[index]};
  if (kernel.shape.banks == 2)
    products.push_back(sums[index + 2]);
  if (!kernel.options.epilogue)
    return products.front();
  int64_t half = kernel.shape.banks == 1 ? getRegisterHalf(index) : 0;
  return kernel.options.epilogue(d.b, d.loc, products, vectors[half]);
}

/// Two neighbouring tokens of one column as bf16 in one word, as stmatrix takes them.
FailureOr<Value> Results::buildPair(ArrayRef<Value> sums, int64_t index) {
  Value pair = LLVM::PoisonOp::create(d.b, d.loc, VectorType::get(2, d.b.getF32Type()));
  for (int64_t token = 0; token < 2; ++token) {
    FailureOr<Value> result = apply(sums, index + token);
    if (failed(result))
      return failure();
    pair = LLVM::InsertElementOp::create(d.b, d.loc, pair, *result, d.constant(token));
  }
  Value narrow = LLVM::FPTruncOp::create(d.b, d.loc, VectorType::get(2, d.b.getBF16Type()), pair);
  return LLVM::BitcastOp::create(d.b, d.loc, d.b.getI32Type(), narrow).getResult();
}

/// The elements before the last column, one by one.
void Results::buildTail(const DeviceBuilder &nested, Value target, Value column, Value source) {
  Type type = kernel.options.outType;
  unsigned size = type.getIntOrFloatBitWidth() / 8;
  for (unsigned index = 0; index < 16 / size; ++index)
    nested.when(nested.less(nested.add(column, index), nested.constant(kernel.shape.columns)),
                [&](const DeviceBuilder &inner) {
                  Value element = inner.load(type, inner.bytes(source, index * size), size);
                  inner.store(element, inner.bytes(target, index * size), size);
                });
}

/// 16 bytes at `offset` of the corner are part of the row of token `token` from `column` of the tile on.
void Results::buildStore(const DeviceBuilder &lane, Value token, Value column, Value offset) {
  Type type = kernel.options.outType;
  int64_t size = type.getIntOrFloatBitWidth() / 8, length = 16 / size;
  lane.when(lane.less(token, work.rows), [&](const DeviceBuilder &row) {
    Value source = row.bytes(corner, offset);
    Value first = row.add(row.mul(work.column, kernel.shape.getTileColumns()), column);
    Value pitch = LLVM::ConstantOp::create(row.b, row.loc, row.b.getI64Type(), kernel.options.outPitch);
    Value place = row.b.createOrFold<arith::MulIOp>(row.loc, row.widen(row.add(work.first, token)), pitch);
    Value target = row.address(kernel.out, type, row.add(place, row.widen(first)));
    if (kernel.options.outPitch % length != 0)
      return buildTail(row, target, first, source);
    Value whole = row.less(row.add(first, length - 1), row.constant(kernel.shape.columns));
    row.when(whole, [&](const DeviceBuilder &nested) {
      auto words = VectorType::get(4, nested.b.getI32Type());
      nested.store(nested.load(words, source, 16), target, 16);
    });
    if (kernel.shape.columns % length != 0) {
      Value cut = arith::XOrIOp::create(row.b, row.loc, whole, arith::ConstantIntOp::create(row.b, row.loc, 1, 1));
      row.when(cut, [&](const DeviceBuilder &nested) { buildTail(nested, target, first, source); });
    }
  });
}

/// bf16: up to four matrices of 8 columns x 8 tokens at once, transposed on the way to the corner.
LogicalResult Results::buildNarrow(ArrayRef<Value> sums) {
  int64_t halves = kernel.shape.banks == 1 ? 2 : 1;
  int64_t matrices = kernel.shape.tokenTile / 8 * halves;
  CornerPlace place = buildCornerPlace(d, kernel.shape, kernel.consumer, kernel.thread);
  Value lane = d.bitAnd(kernel.thread, 31);
  Value row = d.bytes(corner, d.mul(lane, 16));
  for (int64_t done = 0, count = 4; done < matrices; done += count) {
    while (count > matrices - done)
      count /= 2;
    SmallVector<Value> words;
    for (int64_t matrix = done; matrix < done + count; ++matrix) {
      FailureOr<Value> word = buildPair(sums, matrix / halves * 4 + matrix % halves * 2);
      if (failed(word))
        return failure();
      words.push_back(*word);
    }
    // What lanes took last time is taken.
    syncWarp();
    NVVM::StMatrixOp::create(d.b, d.loc, row, words, NVVM::MMALayout::col,
                             NVVM::LdStMatrixShapeAttr::get(d.b.getContext(), 8, 8),
                             NVVM::LdStMatrixEltType::B16);
    syncWarp();
    d.when(d.less(lane, d.constant(8 * count)), [&](const DeviceBuilder &nested) {
      buildStore(nested, nested.add(place.token, done / halves * 8), place.column, place.offset);
    });
  }
  return success();
}

/// f32: eight tokens at a time.
LogicalResult Results::buildWide(ArrayRef<Value> sums) {
  int64_t halves = kernel.shape.banks == 1 ? 2 : 1;
  CornerPlace place = buildWideCornerPlace(d, kernel.shape, kernel.consumer, kernel.thread);
  Value lane = d.bitAnd(kernel.thread, 31);
  for (int64_t group = 0; group < kernel.shape.tokenTile / 8; ++group) {
    syncWarp();
    for (int64_t half = 0; half < halves; ++half)
      for (int64_t token = 0; token < 2; ++token) {
        FailureOr<Value> result = apply(sums, group * 4 + half * 2 + token);
        if (failed(result))
          return failure();
        d.store(*result, d.bytes(corner, buildWideCornerOffset(d, kernel.shape, kernel.thread, token, half)), 4);
      }
    syncWarp();
    d.when(d.less(lane, d.constant(16 * halves)), [&](const DeviceBuilder &nested) {
      buildStore(nested, nested.add(place.token, group * 8), place.column, place.offset);
    });
  }
  return success();
}

LogicalResult Results::build(ArrayRef<Value> sums) {
  Value warp = d.add(d.mul(kernel.consumer, 4), d.div(kernel.thread, 32));
  corner = d.bytes(kernel.shared, d.add(d.mul(warp, kernel.shape.getCornerBytes()), kernel.shape.getCornerOffset()));
  loadVectors();
  return isWide() ? buildWide(sums) : buildNarrow(sums);
}

LogicalResult hopper::buildResults(const DeviceBuilder &d, const KernelContext &kernel, const Work &work,
                                   ArrayRef<Value> sums) {
  return Results(d, kernel, work).build(sums);
}
