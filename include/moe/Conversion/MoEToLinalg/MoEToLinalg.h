//===- MoEToLinalg.h - The moe dialect as loops and linalg ------*- C++ -*-===//
//
// Type conversion and patterns of convert-moe-to-linalg, for passes that lower
// part of the dialect this way.
//
//===----------------------------------------------------------------------===//

#ifndef MOE_CONVERSION_MOETOLINALG_MOETOLINALG_H
#define MOE_CONVERSION_MOETOLINALG_MOETOLINALG_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/DialectConversion.h"

namespace mlir::moe {

/// The external function that gets the offsets of each plan: `(tensor<?xindex>)
/// -> ()`.
inline constexpr llvm::StringLiteral kRecordLoadFunction = "moe_record_load";

/// A routing is its ids and weights, a bank its components; all other types
/// stay.
class MoETypeConverter : public TypeConverter {
public:
  MoETypeConverter();
};

/// What moe.plan computes.
struct Plan {
  Value offsets, tokens, slots;
};

/// Sorts the pairs of `ids` (`tensor<TxKxi32>`) by expert.
Plan buildPlan(OpBuilder &builder, Location loc, Value ids, int64_t experts,
               bool recordLoad);

/// `value` in f32: unchanged, or widened from its storage type.
Value buildWiden(OpBuilder &builder, Location loc, Value value);

/// The row of `tensor` that is nearest to `row`: indices may come from outside.
Value buildClampedRow(OpBuilder &builder, Location loc, Value tensor, Value row);

/// Tells the runtime the rows of each expert of a plan, through the external
/// function of that name.
void buildRecordLoad(OpBuilder &builder, Location loc, Value offsets);

/// A tensor of zeros.
Value buildZeros(OpBuilder &builder, Location loc, Type elementType,
                 ArrayRef<OpFoldResult> sizes);

// One function per file of lib/Conversion/MoEToLinalg.
void populateSelectPatterns(const TypeConverter &converter,
                            RewritePatternSet &patterns);
void populateRoutingPatterns(const TypeConverter &converter,
                            RewritePatternSet &patterns);
void populatePlanPatterns(const TypeConverter &converter,
                          RewritePatternSet &patterns, bool recordLoad);
void populateGatherPatterns(const TypeConverter &converter,
                            RewritePatternSet &patterns);
void populateGroupedMatmulPatterns(const TypeConverter &converter,
                                   RewritePatternSet &patterns);
void populateCombinePatterns(const TypeConverter &converter,
                             RewritePatternSet &patterns);
void populateExpertsPatterns(const TypeConverter &converter,
                             RewritePatternSet &patterns, bool recordLoad);
void populateSoftmaxPatterns(RewritePatternSet &patterns);
/// Functions, calls and returns.
void populateFunctionPatterns(const TypeConverter &converter,
                              RewritePatternSet &patterns);
/// Routings and banks as values: making them, taking them apart, and globals
/// that hold banks.
void populateTuplePatterns(const TypeConverter &converter,
                           RewritePatternSet &patterns);

/// All of them.
void populateMoEToLinalgPatterns(const TypeConverter &converter,
                                 RewritePatternSet &patterns, bool recordLoad);

using MorePatterns =
    llvm::function_ref<void(const TypeConverter &, RewritePatternSet &)>;

/// Lowers all moe operations of `module`. `populate` adds patterns to those of
/// this folder; one of a higher benefit is taken where it matches.
LogicalResult convertMoE(ModuleOp module, bool recordLoad,
                         MorePatterns populate = nullptr);

} // namespace mlir::moe

#endif // MOE_CONVERSION_MOETOLINALG_MOETOLINALG_H
