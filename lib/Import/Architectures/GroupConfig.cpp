//===- GroupConfig.cpp - Routers that choose groups of experts first ------===//
//
// DeepSeek's keys for groups and scaling, and the router and shared experts
// that its third version and many after it have in common.
//
//===----------------------------------------------------------------------===//

#include "Architectures.h"

using namespace mlir::moe;
using llvm::Twine;

GroupConfig mlir::moe::readGroups(Config &config, const ExpertConfig &experts,
                                  const GroupConfig &defaults) {
  GroupConfig result;
  result.groups = config.integer({"n_group"}, defaults.groups, 1, kMaxExperts);
  result.kept = config.integer({"topk_group"}, defaults.kept, 1, result.groups);
  if (experts.experts % result.groups != 0)
    config.fail("'n_group': expected a divisor of the number of experts, " +
                Twine(experts.experts) + ", got " + Twine(result.groups));
  else if (experts.slots > result.kept * (experts.experts / result.groups))
    config.fail("'topk_group': expected groups that hold " +
                Twine(experts.slots) + " experts for each token, got " +
                Twine(result.kept) + " of " +
                Twine(experts.experts / result.groups));
  return result;
}

double mlir::moe::readRoutedScale(Config &config, double otherwise) {
  return config.number("routed_scaling_factor", otherwise, -1e6, 1e6);
}

int64_t mlir::moe::readSharedExperts(Config &config, int64_t otherwise) {
  return config.optionalInteger("n_shared_experts", otherwise, 0, kMaxExperts)
      .value_or(0);
}

void mlir::moe::limitToGroups(Router &router, int64_t slots,
                              const GroupConfig &groups, GroupScore judge) {
  if (groups.kept == groups.groups) // no group is left out
    return;
  router.policy = [=](mlir::MLIRContext *context) {
    return GroupLimitedTopKAttr::get(context, slots, groups.groups, groups.kept,
                                     judge, mlir::FloatAttr());
  };
}

void mlir::moe::addSharedExperts(Experts &block, llvm::StringRef prefix,
                                 const CommonConfig &common, int64_t count,
                                 bool bias) {
  if (count > 0)
    block.shared = SharedExpert{makeMLP((prefix + "shared_experts.").str(),
                                        common, count * block.width, bias),
                                std::nullopt};
}

BiasedExpertConfig
mlir::moe::readBiasedExperts(Config &config,
                             const BiasedExpertConfig &defaults) {
  BiasedExpertConfig blocks;
  blocks.denseWidth = readDenseWidth(config, defaults.denseWidth);
  blocks.experts =
      readExperts(config, defaults.experts, "moe_intermediate_size");
  blocks.groups = readGroups(config, blocks.experts, defaults.groups);
  blocks.scale = readRoutedScale(config, defaults.scale);
  blocks.shared = readSharedExperts(config, defaults.shared);
  blocks.dense = readLeadingDense(config, defaults.dense);
  return blocks;
}

void mlir::moe::setBiasedExperts(DecoderLayer &layer, int64_t index,
                                 const CommonConfig &common,
                                 const BiasedExpertConfig &blocks) {
  std::string prefix = layer.prefix + "mlp.";
  if (index < blocks.dense) {
    layer.feedForward = makeMLP(prefix, common, blocks.denseWidth);
    return;
  }
  Experts block = makeExperts(prefix, common, blocks.experts);
  Router &router = block.router;
  router.selectionBias = prefix + "gate.e_score_correction_bias";
  router.score = made<SigmoidAttr>();
  if (blocks.experts.normalize)
    router.normalization = sumToOne(1e-20);
  router.scale = blocks.scale;
  limitToGroups(router, blocks.experts.slots, blocks.groups,
                GroupScore::top2_sum);
  addSharedExperts(block, prefix, common, blocks.shared);
  layer.feedForward = block;
}
