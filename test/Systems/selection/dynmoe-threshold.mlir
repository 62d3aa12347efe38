// RUN: %systems %moe_bin %t %s
//
// DynMoE: every expert whose similarity passes its own threshold, all with equal weight; if none does, the most similar one
// with weight 1. Similarity is a cosine times a learned scale c = exp(min(s, ln 100)), and norms are at least 1e-12, as in
// the published code. A threshold of infinity is no mask: where none passes, that expert may still be the most similar one.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, e) -> (t, e)>
#token = affine_map<(t, e) -> (t)>
#expert = affine_map<(t, e) -> (e)>
#all = affine_map<(i) -> (i)>
#none = affine_map<(t, e) -> (0)>
#one = affine_map<(i) -> (0)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @dynmoe_threshold(%x: tensor<?x24xf32> {moe.name = "x"}, %gates: tensor<8xf32> {moe.name = "gates"},
    %scale: tensor<1xf32> {moe.name = "scale"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @similarity(%x, %scale) : (tensor<?x24xf32>, tensor<1xf32>) -> tensor<?x8xf32>
  %bounds_empty = tensor.empty() : tensor<8xf32>
  %bounds = linalg.generic {indexing_maps = [#all, #one, #all], iterator_types = ["parallel"]}
    ins(%gates, %scale : tensor<8xf32>, tensor<1xf32>) outs(%bounds_empty : tensor<8xf32>) {
  ^bb0(%gate: f32, %log: f32, %unused: f32):
    %highest = arith.constant 4.6051702 : f32
    %clamped = arith.minimumf %log, %highest : f32
    %c = math.exp %clamped : f32
    %logit = arith.mulf %gate, %c : f32
    %one = arith.constant 1.0 : f32
    %negative = arith.negf %logit : f32
    %power = math.exp %negative : f32
    %more = arith.addf %power, %one : f32
    %bound = arith.divf %one, %more : f32
    linalg.yield %bound : f32
  } -> tensor<8xf32>
  %thresholds = tensor.expand_shape %bounds [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %routing = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = best>)
    with(thresholds = %thresholds : tensor<1x8xf32>) score(#moe.sigmoid) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// In training, a token for which no expert qualifies gets nothing.
func.func @training(%x: tensor<?x24xf32> {moe.name = "x"}, %gates: tensor<8xf32> {moe.name = "gates"},
    %scale: tensor<1xf32> {moe.name = "scale"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @similarity(%x, %scale) : (tensor<?x24xf32>, tensor<1xf32>) -> tensor<?x8xf32>
  %bounds_empty = tensor.empty() : tensor<8xf32>
  %bounds = linalg.generic {indexing_maps = [#all, #one, #all], iterator_types = ["parallel"]}
    ins(%gates, %scale : tensor<8xf32>, tensor<1xf32>) outs(%bounds_empty : tensor<8xf32>) {
  ^bb0(%gate: f32, %log: f32, %unused: f32):
    %highest = arith.constant 4.6051702 : f32
    %clamped = arith.minimumf %log, %highest : f32
    %c = math.exp %clamped : f32
    %logit = arith.mulf %gate, %c : f32
    %one = arith.constant 1.0 : f32
    %negative = arith.negf %logit : f32
    %power = math.exp %negative : f32
    %more = arith.addf %power, %one : f32
    %bound = arith.divf %one, %more : f32
    linalg.yield %bound : f32
  } -> tensor<8xf32>
  %thresholds = tensor.expand_shape %bounds [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %routing = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = nothing>)
    with(thresholds = %thresholds : tensor<1x8xf32>) score(#moe.sigmoid) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Some experts masked: minus infinity added to their similarity makes the score 0, so that no fallback takes them.
func.func @masked(%x: tensor<?x24xf32> {moe.name = "x"}, %gates: tensor<8xf32> {moe.name = "gates"},
    %scale: tensor<1xf32> {moe.name = "scale"}, %mask: tensor<8xf32> {moe.name = "mask"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %all = func.call @similarity(%x, %scale) : (tensor<?x24xf32>, tensor<1xf32>) -> tensor<?x8xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits = linalg.generic {indexing_maps = [#id, #expert, #id], iterator_types = ["parallel", "parallel"]}
    ins(%all, %mask : tensor<?x8xf32>, tensor<8xf32>) outs(%logits_empty : tensor<?x8xf32>) {
  ^bb0(%similarity: f32, %none: f32, %unused: f32):
    %logit = arith.addf %similarity, %none : f32
    linalg.yield %logit : f32
  } -> tensor<?x8xf32>
  %bounds_empty = tensor.empty() : tensor<8xf32>
  %bounds = linalg.generic {indexing_maps = [#all, #one, #all], iterator_types = ["parallel"]}
    ins(%gates, %scale : tensor<8xf32>, tensor<1xf32>) outs(%bounds_empty : tensor<8xf32>) {
  ^bb0(%gate: f32, %log: f32, %unused: f32):
    %highest = arith.constant 4.6051702 : f32
    %clamped = arith.minimumf %log, %highest : f32
    %c = math.exp %clamped : f32
    %logit = arith.mulf %gate, %c : f32
    %one = arith.constant 1.0 : f32
    %negative = arith.negf %logit : f32
    %power = math.exp %negative : f32
    %more = arith.addf %power, %one : f32
    %bound = arith.divf %one, %more : f32
    linalg.yield %bound : f32
  } -> tensor<8xf32>
  %thresholds = tensor.expand_shape %bounds [[0, 1]] output_shape [1, 8] : tensor<8xf32> into tensor<1x8xf32>
  %routing = moe.select %logits policy(#moe.threshold<slots = 8, otherwise = best>)
    with(thresholds = %thresholds : tensor<1x8xf32>) score(#moe.sigmoid) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone, scores and thresholds given.
func.func @choice(%scores: tensor<?x8xf32> {moe.name = "scores"}, %thresholds: tensor<1x8xf32> {moe.name = "thresholds"})
    -> (tensor<?x8xi32> {moe.name = "ids"}, tensor<?x8xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores policy(#moe.threshold<slots = 8, otherwise = best>)
    with(thresholds = %thresholds : tensor<1x8xf32>) score(#moe.identity) normalize(#moe.uniform)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 8>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %ids, %weights : tensor<?x8xi32>, tensor<?x8xf32>
}

func.func private @similarity(%x: tensor<?x24xf32>, %scale: tensor<1xf32>) -> tensor<?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %dot_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %dot_zero = linalg.fill ins(%zero : f32) outs(%dot_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %dot = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%dot_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %xx_empty = tensor.empty(%tokens) : tensor<?xf32>
  %xx_zero = linalg.fill ins(%zero : f32) outs(%xx_empty : tensor<?xf32>) -> tensor<?xf32>
  %xx = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%x : tensor<?x24xf32>) outs(%xx_zero : tensor<?xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<?xf32>
  %ww_empty = tensor.empty() : tensor<8xf32>
  %ww_zero = linalg.fill ins(%zero : f32) outs(%ww_empty : tensor<8xf32>) -> tensor<8xf32>
  %ww = linalg.generic {indexing_maps = [#id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%router : tensor<8x24xf32>) outs(%ww_zero : tensor<8xf32>) {
  ^bb0(%value: f32, %sum: f32):
    %more = math.fma %value, %value, %sum : f32
    linalg.yield %more : f32
  } -> tensor<8xf32>
  %logits = linalg.generic {indexing_maps = [#id, #token, #expert, #none, #id], iterator_types = ["parallel", "parallel"]}
    ins(%dot, %xx, %ww, %scale : tensor<?x8xf32>, tensor<?xf32>, tensor<8xf32>, tensor<1xf32>)
    outs(%dot_empty : tensor<?x8xf32>) {
  ^bb0(%product: f32, %row: f32, %key: f32, %log: f32, %unused: f32):
    %least = arith.constant 1.0e-12 : f32
    %row_norm = math.sqrt %row : f32
    %key_norm = math.sqrt %key : f32
    %row_size = arith.maximumf %row_norm, %least : f32
    %key_size = arith.maximumf %key_norm, %least : f32
    %by_row = arith.divf %product, %row_size : f32
    %cosine = arith.divf %by_row, %key_size : f32
    %highest = arith.constant 4.6051702 : f32
    %clamped = arith.minimumf %log, %highest : f32
    %c = math.exp %clamped : f32
    %logit = arith.mulf %cosine, %c : f32
    linalg.yield %logit : f32
  } -> tensor<?x8xf32>
  return %logits : tensor<?x8xf32>
}

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 8>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 8>)
         banks(%expert : !moe.bank<tensor<8x24x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %matrix: tensor<24x24xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x24xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %matrix : tensor<?x24xf32>, tensor<24x24xf32>) outs(%raised_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x24xf32>
    moe.yield %h : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
