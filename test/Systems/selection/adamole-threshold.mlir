// RUN: %systems %moe_bin %t %s
//
// AdaMoLE: beside a frozen linear layer, every low-rank expert whose probability reaches the token's own threshold
// (sigmoid(v x + b) / E), weighed by how far it lies above it, divided by the sum of these; a sum of 0 gives 0.
//
// The factor alpha / r is 2, the guard of the division the smallest normal number.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, e) -> (t, e)>
#token = affine_map<(t, e) -> (t, 0)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @bound(#moe.source<"bound", tensor<1x24xf32>>) : tensor<1x24xf32>
ml_program.global private @bound_bias(#moe.source<"bound_bias", tensor<1xf32>>) : tensor<1xf32>
ml_program.global private @base(#moe.source<"base", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @a(#moe.bank_recipe<[#moe.source<"a", tensor<4x4x24xf32>>]>) : !moe.bank<tensor<4x4x24xf32>>
ml_program.global private @b(#moe.bank_recipe<[#moe.source<"b", tensor<4x24x4xf32>>]>) : !moe.bank<tensor<4x24x4xf32>>

func.func @adamole_threshold(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %bound = ml_program.global_load_const @bound : tensor<1x24xf32>
  %bound_bias = ml_program.global_load_const @bound_bias : tensor<1xf32>
  %one_empty = tensor.empty(%tokens) : tensor<?x1xf32>
  %one_zero = linalg.fill ins(%zero : f32) outs(%one_empty : tensor<?x1xf32>) -> tensor<?x1xf32>
  %raw = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %bound : tensor<?x24xf32>, tensor<1x24xf32>) outs(%one_zero : tensor<?x1xf32>) -> tensor<?x1xf32>
  %threshold = linalg.generic {indexing_maps = [#id, affine_map<(t, e) -> (0)>, #id], iterator_types = ["parallel", "parallel"]}
    ins(%raw, %bound_bias : tensor<?x1xf32>, tensor<1xf32>) outs(%one_empty : tensor<?x1xf32>) {
  ^bb0(%value: f32, %bias: f32, %unused: f32):
    %one = arith.constant 1.0 : f32
    %share = arith.constant 0.25 : f32
    %logit = arith.addf %value, %bias : f32
    %negative = arith.negf %logit : f32
    %power = math.exp %negative : f32
    %more = arith.addf %power, %one : f32
    %gate = arith.divf %one, %more : f32
    %own = arith.mulf %gate, %share : f32
    linalg.yield %own : f32
  } -> tensor<?x1xf32>
  %routing = func.call @choose(%logits, %threshold) : (tensor<?x4xf32>, tensor<?x1xf32>) -> !moe.routing<? x 4, slots = 4>
  %y = func.call @layer(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 4, slots = 4>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// With thresholds that are given.
func.func @given(%logits: tensor<?x4xf32> {moe.name = "logits"}, %thresholds: tensor<?x1xf32> {moe.name = "thresholds"})
    -> (!moe.routing<? x 4, slots = 4> {moe.name = "chosen"}) {
  %routing = func.call @choose(%logits, %thresholds) : (tensor<?x4xf32>, tensor<?x1xf32>) -> !moe.routing<? x 4, slots = 4>
  return %routing : !moe.routing<? x 4, slots = 4>
}

func.func private @choose(%logits: tensor<?x4xf32>, %thresholds: tensor<?x1xf32>) -> !moe.routing<? x 4, slots = 4> {
  %all = moe.select %logits policy(#moe.all) score(#moe.softmax) normalize(#moe.keep) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %everyone, %p = moe.routing_parts %all : !moe.routing<? x 4, slots = 4> -> tensor<?x4xi32>, tensor<?x4xf32>
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %logits, %c0 : tensor<?x4xf32>
  %above_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %above = linalg.generic {indexing_maps = [#id, #token, #id], iterator_types = ["parallel", "parallel"]}
    ins(%p, %thresholds : tensor<?x4xf32>, tensor<?x1xf32>) outs(%above_empty : tensor<?x4xf32>) {
  ^bb0(%score: f32, %threshold: f32, %unused: f32):
    %height = arith.subf %score, %threshold : f32
    linalg.yield %height : f32
  } -> tensor<?x4xf32>
  // Shown:
  %routing = moe.select %p weigh(%above : tensor<?x4xf32>)
    policy(#moe.threshold<slots = 4, otherwise = nothing, inclusive = true>) with(thresholds = %thresholds : tensor<?x1xf32>)
    score(#moe.identity) normalize(#moe.sum_to_one<floor = 1.17549435E-38 : f32>) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>

  return %routing : !moe.routing<? x 4, slots = 4>
}

func.func private @layer(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 4, slots = 4>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %base = ml_program.global_load_const @base : tensor<24x24xf32>
  %a = ml_program.global_load_const @a : !moe.bank<tensor<4x4x24xf32>>
  %b = ml_program.global_load_const @b : !moe.bank<tensor<4x24x4xf32>>
  %frozen_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %frozen_zero = linalg.fill ins(%zero : f32) outs(%frozen_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %frozen = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %base : tensor<?x24xf32>, tensor<24x24xf32>) outs(%frozen_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %change = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 4>)
         banks(%a, %b : !moe.bank<tensor<4x4x24xf32>>, !moe.bank<tensor<4x24x4xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %down: tensor<4x24xf32>, %up: tensor<24x4xf32>):
    %none = arith.constant 0.0 : f32
    %factor = arith.constant 2.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %low_empty = tensor.empty(%count) : tensor<?x4xf32>
    %low_zero = linalg.fill ins(%none : f32) outs(%low_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
    %low = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %down : tensor<?x24xf32>, tensor<4x24xf32>) outs(%low_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
    %high_empty = tensor.empty(%count) : tensor<?x24xf32>
    %high_zero = linalg.fill ins(%none : f32) outs(%high_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %high = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%low, %up : tensor<?x4xf32>, tensor<24x4xf32>) outs(%high_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    %twos = linalg.fill ins(%factor : f32) outs(%high_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %scaled = arith.mulf %high, %twos : tensor<?x24xf32>
    moe.yield %scaled : tensor<?x24xf32>
  }
  %y = arith.addf %change, %frozen : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
