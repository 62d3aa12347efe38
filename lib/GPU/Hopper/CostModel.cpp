//===- CostModel.cpp - Which tile of tokens to compile --------------------===//
//
// Cycles of one multiprocessor for the tiles of one expert and one tile of columns. Constants are an H200's, from
// published data; none was measured here.
//
//===----------------------------------------------------------------------===//

#include "moe/GPU/Hopper/CostModel.h"
#include "moe/GPU/Hopper/GroupedMatmul.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;
using namespace mlir::moe;
using namespace mlir::moe::hopper;

/// A multiprocessor's share of the device memory's and of the second level cache's bytes per cycle.
static constexpr double kMemoryBytes = 19, kCacheBytes = 40;
/// Cycles of a tile that no other work hides: the ring's start, the epilogue for each token.
static constexpr double kTileCycles = 1500, kTokenCycles = 8;
/// Tiles worth a kernel each: steps of about a third.
static constexpr int64_t kTokenTiles[] = {8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256};
static constexpr int64_t kMaxStages = 8;

/// Cycles of the wgmmas on one stage: four of K = 16 for each of two consumers. One takes n / 2 cycles, or the time to
/// read 2048 + 32 n bytes of shared memory at 128 bytes a cycle.
static double getStageCycles(int64_t tokenTile) {
  double multiply = tokenTile / 2.0, read = 16 + tokenTile / 4.0;
  return 8 * std::max(multiply, read);
}

/// The chance that an expert has more than `count` rows, its rows being Poisson distributed with mean `rows`: tokens
/// choose one by one. Many rows are taken to be normally distributed.
static double getChanceOfMore(double rows, int64_t count) {
  if (rows > 200)
    return std::erfc((double(count) + 0.5 - rows) / std::sqrt(2 * rows)) / 2;
  double atMost = 0;
  for (int64_t number = 0; number <= count; ++number)
    atMost += std::exp(double(number) * std::log(rows) - rows - std::lgamma(double(number) + 1));
  return std::max(0.0, 1 - atMost);
}

/// The mean number of tiles of an expert: there is a tile number j if there are more than j * n rows.
static double getMeanTiles(double rows, int64_t tokenTile) {
  // Nothing that matters lies ten deviations away.
  double most = rows + 10 * std::sqrt(rows) + 20, tiles = 0;
  for (int64_t count = 0; double(count) < most; count += tokenTile)
    tiles += getChanceOfMore(rows, count);
  return tiles;
}

ProductDecision hopper::evaluateTile(const ProductFacts &facts, int64_t tokenTile) {
  double rows = std::max(facts.rowsPerExpert, 1e-3);
  KernelShape shape{facts.k, facts.columns, tokenTile, /*stages=*/1, facts.banks};
  int64_t perStage = shape.getStageBytes() + 16;
  int64_t fit = (kSharedLimit - 8 * shape.getCornerBytes()) / perStage;
  ProductDecision decision;
  decision.tokenTile = tokenTile;
  decision.stages = std::min(fit, kMaxStages);
  decision.raster = 8;
  double tiles = getMeanTiles(rows, tokenTile), blocks = double(shape.getDepthBlocks());
  double multiply = tiles * blocks * getStageCycles(tokenTile);
  // An expert's weights come from memory once, since its tiles run side by side; only if it has rows at all.
  double memory = std::min(tiles, 1 - std::exp(-rows)) * blocks * shape.getWeightBytes() / kMemoryBytes;
  double cache = tiles * blocks * shape.getStageBytes() / kCacheBytes;
  decision.cycles = std::max({multiply, memory, cache}) + tiles * (kTileCycles + kTokenCycles * tokenTile);
  decision.workFactor = tiles * tokenTile / rows;
  return decision;
}

ProductDecision hopper::chooseTile(const ProductFacts &facts) {
  ProductDecision best = evaluateTile(facts, kTokenTiles[0]);
  for (int64_t tokenTile : kTokenTiles) {
    ProductDecision decision = evaluateTile(facts, tokenTile);
    if (decision.cycles <= best.cycles)
      best = decision;
  }
  return best;
}

std::vector<TileClass> hopper::chooseClasses(ProductFacts facts, int64_t maxRows) {
  std::vector<TileClass> classes;
  // Steps of a fifth are finer than those of the tiles.
  for (int64_t rows = 1;; rows = std::min(maxRows, std::max(rows + 1, rows * 6 / 5))) {
    facts.rowsPerExpert = double(rows) / double(facts.experts);
    ProductDecision decision = chooseTile(facts);
    if (classes.empty() || classes.back().decision.tokenTile != decision.tokenTile)
      classes.push_back({rows, facts, decision});
    classes.back().maxRows = rows;
    if (rows >= maxRows)
      return classes;
  }
}

std::string ProductDecision::describe(const ProductFacts &facts) const {
  return llvm::formatv("{0} x [{1}, {2}] x {3}{4}, {5:F1} rows per expert: {6} tokens, {7} stages, raster {8}, work "
                       "{9:F2}, {10:F0} cycles",
                       facts.experts, facts.columns, facts.k, facts.banks, facts.gathered ? " gathered" : "",
                       facts.rowsPerExpert, tokenTile, stages, raster, workFactor, cycles);
}
