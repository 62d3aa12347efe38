//===- HostCode.cpp - Launches of products --------------------------------===//
//
// Tensor maps, parameters and grids: calls of the runtime that moe/Runtime/Program.h describes.
//
//===----------------------------------------------------------------------===//

#include "ProductFunction.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

static constexpr llvm::StringLiteral kLaunchFunction = "moe_gpu_launch", kMapFunction = "moe_gpu_tensor_map";
/// CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 and CU_TENSOR_MAP_SWIZZLE_128B of the CUDA driver.
static constexpr int64_t kBFloat16 = 9, kSwizzle128 = 3;

namespace {
/// Writes the body of a product's function.
class HostCode {
public:
  HostCode(Product &product, int64_t multiprocessors)
      : product(product), multiprocessors(multiprocessors), loc(product.function.getLoc()),
        b(product.function.getContext()) {}

  void build(ArrayRef<KernelClass> classes);

private:
  void buildChoice(ArrayRef<KernelClass> classes);
  void buildLaunches(const KernelClass &kernels);
  Value constant(Type type, int64_t value) {
    return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
  }
  Value allocate(int64_t bytes, int64_t alignment);
  Value pointer(unsigned argument);
  Value array(Type element, ValueRange values);
  Value buildMap(unsigned argument, ArrayRef<int64_t> box);
  Value rows(unsigned argument);
  Value productRows();
  void launch(StringRef kernel, int64_t number, Value blocks, ValueRange parameters);
  Value slot(Value value);

  Product &product;
  int64_t multiprocessors;
  Location loc;
  OpBuilder b;
};
} // namespace

Value HostCode::allocate(int64_t bytes, int64_t alignment) {
  return LLVM::AllocaOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), b.getI8Type(),
                                constant(b.getI64Type(), bytes), alignment);
}

Value HostCode::pointer(unsigned argument) {
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, product.function.getArgument(argument));
  Value number = arith::IndexCastOp::create(b, loc, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext()), number);
}

Value HostCode::rows(unsigned argument) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value size = memref::DimOp::create(b, loc, product.function.getArgument(argument), zero);
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), size);
}

/// Rows of the call.
Value HostCode::productRows() {
  if (!product.dense)
    return rows(product.getOut());
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), product.function.getArgument(product.getRows()));
}

/// Numbers or pointers in memory, one after the other.
Value HostCode::array(Type element, ValueRange values) {
  unsigned bytes = isa<LLVM::LLVMPointerType>(element) ? 8 : element.getIntOrFloatBitWidth() / 8;
  Value memory = allocate(bytes * std::max<int64_t>(values.size(), 1), 8);
  for (auto [index, value] : llvm::enumerate(values)) {
    Value place = LLVM::GEPOp::create(b, loc, memory.getType(), element, memory,
                                      ArrayRef<LLVM::GEPArg>{int32_t(index)});
    LLVM::StoreOp::create(b, loc, value, place);
  }
  return memory;
}

/// The tensor map of a buffer. Sizes and boxes are given outermost first, as in the buffer's type.
Value HostCode::buildMap(unsigned argument, ArrayRef<int64_t> box) {
  MemRefType type = product.getType(argument);
  Type i64 = b.getI64Type(), i32 = b.getI32Type();
  int64_t pitch = *getPitch(type);
  SmallVector<Value> sizes, strides, boxes;
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    // What lies between rows is outside.
    int64_t extent = dim == type.getRank() - 1 ? product.k : type.getDimSize(dim);
    // An empty buffer has no map; nothing is read of it.
    Value size = type.isDynamicDim(dim) ? arith::MaxSIOp::create(b, loc, rows(argument), constant(i64, 1)).getResult()
                                        : constant(i64, extent);
    sizes.push_back(size);
    boxes.push_back(constant(i32, box[dim]));
  }
  strides.push_back(constant(i64, pitch * 2));
  if (type.getRank() == 3)
    strides.push_back(constant(i64, pitch * 2 * type.getDimSize(1)));
  Value map = allocate(128, 64);
  func::CallOp::create(b, loc, kMapFunction, TypeRange(),
                       ValueRange{map, pointer(argument), constant(i32, kBFloat16),
                                  constant(i32, type.getRank()), array(i64, sizes), array(i64, strides),
                                  array(i32, boxes), constant(i32, kSwizzle128)});
  return map;
}

Value HostCode::slot(Value value) { return array(value.getType(), value); }

void HostCode::launch(StringRef kernel, int64_t number, Value blocks, ValueRange parameters) {
  auto call = func::CallOp::create(b, loc, kLaunchFunction, TypeRange(),
                                   ValueRange{constant(b.getI32Type(), number), blocks,
                                              array(LLVM::LLVMPointerType::get(b.getContext()), parameters)});
  // Whoever joins device modules numbers kernels anew by their names.
  call->setAttr(kKernelAttr, SymbolRefAttr::get(b.getContext(), kKernelModule,
                                                {FlatSymbolRefAttr::get(b.getContext(), kernel)}));
}

void HostCode::buildLaunches(const KernelClass &kernels) {
  const GroupedMatmulKernelOptions &options = kernels.options;
  KernelShape shape = KernelShape::of(options);
  Type i64 = b.getI64Type();
  if (product.hasMapKernel())
    launch(kernels.mapName, kernels.mapNumber, constant(i64, 1),
           {slot(pointer(product.getOffsets())), slot(pointer(product.getTileMap()))});
  SmallVector<Value> parameters;
  for (int64_t bank = 0; bank < product.banks; ++bank)
    parameters.push_back(buildMap(product.getBank(bank), {1, shape.getBoxRows(), kBlockDepth}));
  if (product.gathered)
    parameters.append({slot(pointer(0)), slot(pointer(product.getIndices()))});
  else
    parameters.push_back(buildMap(0, {shape.tokenTile, kBlockDepth}));
  Value count = productRows();
  parameters.push_back(slot(product.dense ? count : pointer(product.getTileMap())));
  for (int64_t vector = 0; vector < product.vectors; ++vector)
    parameters.push_back(slot(pointer(product.getVector(vector))));
  parameters.push_back(slot(pointer(product.getOut())));
  // The grid depends on the number of rows alone: as many blocks as tiles there can be, or as run at once.
  Value tiles = arith::CeilDivUIOp::create(b, loc, count, constant(i64, shape.tokenTile));
  if (!product.dense)
    tiles = arith::AddIOp::create(b, loc, tiles, constant(i64, product.getExperts()));
  Value items = arith::MulIOp::create(b, loc, tiles, constant(i64, shape.getColumnTiles()));
  Value blocks = arith::MinUIOp::create(b, loc, items, constant(i64, multiprocessors));
  launch(options.name, kernels.number, blocks, parameters);
}

/// The first class that has room for the rows of the call; the last one has room for any.
void HostCode::buildChoice(ArrayRef<KernelClass> classes) {
  if (classes.size() == 1)
    return buildLaunches(classes.front());
  Value limit = constant(b.getI64Type(), classes.front().maxRows);
  Value fits = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, productRows(), limit);
  auto choice = scf::IfOp::create(b, loc, fits, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  buildLaunches(classes.front());
  b.setInsertionPointToStart(choice.elseBlock());
  buildChoice(classes.drop_front());
}

void HostCode::build(ArrayRef<KernelClass> classes) {
  product.function.eraseBody();
  b.setInsertionPointToStart(product.function.addEntryBlock());
  buildChoice(classes);
  func::ReturnOp::create(b, loc);
}

static void declare(ModuleOp module, StringRef name, ArrayRef<Type> parameters) {
  if (module.lookupSymbol(name))
    return;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  func::FuncOp::create(builder, module.getLoc(), name, builder.getFunctionType(parameters, {})).setPrivate();
}

/// Declares the runtime's functions.
static void declareRuntime(ModuleOp module) {
  Builder builder(module.getContext());
  Type pointer = LLVM::LLVMPointerType::get(module.getContext());
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  declare(module, kLaunchFunction, {i32, i64, pointer});
  declare(module, kMapFunction, {pointer, pointer, i32, i32, pointer, pointer, pointer, i32});
}

void hopper::buildHostCode(ModuleOp module, Product &product, ArrayRef<KernelClass> classes,
                           int64_t multiprocessors) {
  declareRuntime(module);
  HostCode(product, multiprocessors).build(classes);
}
