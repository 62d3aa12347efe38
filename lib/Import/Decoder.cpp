//===- Decoder.cpp - Builds a decoder from its description ----------------===//
//
// One private function for all layers that are equal up to their weights, and
// the function of the language model that calls them.
//
//===----------------------------------------------------------------------===//

#include "Decoder.h"
#include "moe/Dialect/MoE/IR/MoE.h"

#include "mlir/IR/OperationSupport.h"

using namespace mlir;
using namespace mlir::moe;

namespace {

/// The arguments of a layer that are not weights.
struct LayerState {
  Value hidden;
  AttentionState attention;
};

std::vector<CacheShape> getLayerCaches(const DecoderLayer &layer) {
  return layer.latentAttention ? getCaches(*layer.latentAttention)
                               : getCaches(layer.attention);
}

/// Attention and feed-forward block, each behind a norm and added to the
/// stream.
void buildLayer(FunctionScope &scope, LayerState &state,
                const DecoderLayer &layer) {
  ImplicitLocOpBuilder &builder = scope.builder;
  Value rows = buildRMSNorm(scope, state.hidden, layer.attentionNorm);
  Value attended =
      layer.latentAttention
          ? buildAttention(scope, rows, state.attention, *layer.latentAttention)
          : buildAttention(scope, rows, state.attention, layer.attention);
  state.hidden =
      buildResidualAdd(builder, state.hidden, attended, layer.residualScale);

  FunctionScope::Block block(scope, "mlp");
  rows = buildRMSNorm(scope, state.hidden, layer.feedForwardNorm);
  Value output =
      std::holds_alternative<Experts>(layer.feedForward)
          ? buildExperts(scope, rows, std::get<Experts>(layer.feedForward))
          : buildGatedMLP(scope, rows, std::get<GatedMLP>(layer.feedForward));
  state.hidden =
      buildResidualAdd(builder, state.hidden, output, layer.residualScale);
}

/// Layers as functions: equal ones are kept once.
class LayerFunctions {
public:
  explicit LayerFunctions(Model &model) : model(model) {}

  /// Calls the function of `layer` in `caller`.
  void call(FunctionScope &caller, LayerState &state,
            const DecoderLayer &layer) {
    FunctionScope scope(model,
                        "decoder_layer_" + std::to_string(functions.size()),
                        /*isPublic=*/false,
                        /*loadsWeights=*/false, layer.prefix);
    LayerState inner;
    auto forward = [&](Value outer, StringRef name) {
      return scope.addArgument(outer.getType(), name);
    };
    inner.hidden = forward(state.hidden, "hidden");
    inner.attention.rotary.cosine =
        forward(state.attention.rotary.cosine, "cosine");
    inner.attention.rotary.sine = forward(state.attention.rotary.sine, "sine");
    inner.attention.positions = forward(state.attention.positions, "positions");
    inner.attention.sequences = forward(state.attention.sequences, "sequences");
    std::vector<CacheShape> shapes = getLayerCaches(layer);
    for (auto [shape, cache] : llvm::zip_equal(shapes, state.attention.caches))
      inner.attention.caches.push_back(forward(cache, shape.name));
    buildLayer(scope, inner, layer);
    std::vector<FunctionScope::Result> results{{inner.hidden, "hidden", ""}};
    for (auto [shape, cache] : llvm::zip_equal(shapes, inner.attention.caches))
      results.push_back({cache, shape.name, ""});
    scope.finish(results);
    func::FuncOp function = share(scope.getFunction());

    SmallVector<Value> operands{state.hidden, state.attention.rotary.cosine,
                                state.attention.rotary.sine,
                                state.attention.positions,
                                state.attention.sequences};
    llvm::append_range(operands, state.attention.caches);
    for (const auto &[name, type] : scope.getUsedWeights())
      operands.push_back(caller.load(name, type));
    auto call = func::CallOp::create(caller.builder, function, operands);
    state.hidden = call.getResult(0);
    state.attention.caches.assign(call.result_begin() + 1, call.result_end());
  }

private:
  /// The function made before that equals `function`, which is then erased;
  /// else `function` itself.
  func::FuncOp share(func::FuncOp function) {
    for (func::FuncOp other : functions) {
      if (other.getFunctionType() != function.getFunctionType() ||
          other.getArgAttrsAttr() != function.getArgAttrsAttr())
        continue;
      if (!OperationEquivalence::isRegionEquivalentTo(
              &other.getBody(), &function.getBody(),
              OperationEquivalence::IgnoreLocations))
        continue;
      function.erase();
      return other;
    }
    functions.push_back(function);
    return function;
  }

  Model &model;
  std::vector<func::FuncOp> functions;
};

} // namespace

void mlir::moe::buildDecoder(Model &model, const Decoder &decoder) {
  FunctionScope scope(model, "forward", /*isPublic=*/true,
                      /*loadsWeights=*/true, "");
  ImplicitLocOpBuilder &builder = scope.builder;
  auto ids =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  Value tokens = scope.addArgument(ids, "tokens", "tokens");
  LayerState state;
  state.attention.positions = scope.addArgument(ids, "positions", "positions");
  state.attention.sequences = scope.addArgument(ids, "sequences", "sequences");
  Value firstRow =
      scope.addArgument(builder.getIndexType(), "first_row", "first_row");

  state.hidden = buildEmbedding(scope, tokens, decoder.embedding);
  state.attention.rotary =
      buildRotaryTables(scope, state.attention.positions, decoder.rotary);
  LayerFunctions functions(model);
  std::vector<FunctionScope::Result> caches;
  std::vector<int32_t> expertLayers;
  for (int64_t index = 0; index < decoder.layers && !model.failed(); ++index) {
    DecoderLayer layer = decoder.getLayer(index);
    if (std::holds_alternative<Experts>(layer.feedForward))
      expertLayers.push_back(index);
    std::string name = "layers." + std::to_string(index);
    FunctionScope::Block block(scope, name);
    std::vector<CacheShape> shapes = getLayerCaches(layer);
    state.attention.caches.clear();
    for (const CacheShape &shape : shapes) {
      auto type = RankedTensorType::get(
          {ShapedType::kDynamic, ShapedType::kDynamic, shape.heads, shape.size},
          builder.getF32Type());
      SmallVector<NamedAttribute> window;
      if (shape.window)
        window.push_back(builder.getNamedAttr(
            MoEDialect::kWindowAttr, builder.getI64IntegerAttr(*shape.window)));
      state.attention.caches.push_back(
          scope.addArgument(type, name + "." + shape.name, "cache", window));
    }
    functions.call(scope, state, layer);
    for (auto [shape, cache] : llvm::zip_equal(shapes, state.attention.caches))
      caches.push_back({cache, name + "." + shape.name, "cache"});
  }
  Value logits = buildOutputHead(scope, state.hidden, firstRow, decoder.head);

  std::vector<FunctionScope::Result> results{{logits, "logits", "logits"}};
  llvm::append_range(results, caches);
  scope.finish(results);

  model.getModule()->setAttr(
      MoEDialect::kLanguageModelAttr,
      builder.getDictionaryAttr(
          {builder.getNamedAttr(
               "vocabulary",
               builder.getI64IntegerAttr(decoder.head.projection.outputs)),
           builder.getNamedAttr("max_context",
                                builder.getI64IntegerAttr(decoder.maxContext)),
           builder.getNamedAttr(
               "eos", builder.getDenseI32ArrayAttr(decoder.endOfSequence)),
           builder.getNamedAttr("moe_layers",
                                builder.getDenseI32ArrayAttr(expertLayers))}));
}
