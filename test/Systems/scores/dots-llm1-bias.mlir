// RUN: %systems %moe_bin %t %s
//
// dots.llm1: sigmoid scores; groups judged by their two best biased scores, then the best biased scores within the best
// groups, others counting as 0; weights from the scores without bias, divided by their sum plus 1e-20, times 2.5. A shared
// expert beside. The model ships one group (@one_group); its code, and this, can have several.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>
ml_program.global private @shared(#moe.source<"shared", tensor<24x24xf32>>) : tensor<24x24xf32>

func.func @dots_llm1_bias(%x: tensor<?x24xf32> {moe.name = "x"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.group_limited_top_k<k = 3, groups = 4, keep = 2, judge = top2_sum, excluded = 0.0 : f32>)
    score(#moe.sigmoid) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %routed = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 3>) -> tensor<?x24xf32>
  %shared = ml_program.global_load_const @shared : tensor<24x24xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %both_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %both_zero = linalg.fill ins(%zero : f32) outs(%both_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %both = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %shared : tensor<?x24xf32>, tensor<24x24xf32>) outs(%both_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %shared_out = arith.maximumf %both, %both_zero : tensor<?x24xf32>
  %y = arith.addf %routed, %shared_out : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// As shipped, with one group.
func.func @one_group(%x: tensor<?x24xf32> {moe.name = "x"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits bias(%bias : tensor<8xf32>) policy(#moe.top_k<3>)
    score(#moe.sigmoid) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %routed = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 3>) -> tensor<?x24xf32>
  %shared = ml_program.global_load_const @shared : tensor<24x24xf32>
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %both_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %both_zero = linalg.fill ins(%zero : f32) outs(%both_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %both = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %shared : tensor<?x24xf32>, tensor<24x24xf32>) outs(%both_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %shared_out = arith.maximumf %both, %both_zero : tensor<?x24xf32>
  %y = arith.addf %routed, %shared_out : tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Four experts in two groups, two chosen in the best group; what is outside counts as 0 or as negative infinity.
func.func @excluded_0(%scores: tensor<?x4xf32> {moe.name = "scores"}, %bias: tensor<4xf32> {moe.name = "bias"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<4xf32>)
    policy(#moe.group_limited_top_k<k = 2, groups = 2, keep = 1, judge = top2_sum, excluded = 0.0 : f32>) score(#moe.identity)
    normalize(#moe.keep) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

func.func @excluded_lowest(%scores: tensor<?x4xf32> {moe.name = "scores"}, %bias: tensor<4xf32> {moe.name = "bias"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<4xf32>)
    policy(#moe.group_limited_top_k<k = 2, groups = 2, keep = 1, judge = top2_sum>) score(#moe.identity)
    normalize(#moe.keep) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 4, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}

// The choice alone, its scores given: groups judged by their best, by their two best, and no groups.
func.func @judged_by_max(%scores: tensor<?x8xf32> {moe.name = "scores"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x3xi32> {moe.name = "ids"}, tensor<?x3xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<8xf32>) policy(#moe.group_limited_top_k<k = 3, groups = 4, keep = 2, judge = max>)
    score(#moe.identity) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32>
}

func.func @judged_by_two(%scores: tensor<?x8xf32> {moe.name = "scores"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x3xi32> {moe.name = "ids"}, tensor<?x3xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<8xf32>) policy(#moe.group_limited_top_k<k = 3, groups = 4, keep = 2, judge = top2_sum>)
    score(#moe.identity) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32>
}

func.func @all_groups(%scores: tensor<?x8xf32> {moe.name = "scores"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x3xi32> {moe.name = "ids"}, tensor<?x3xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<8xf32>) policy(#moe.group_limited_top_k<k = 3, groups = 4, keep = 4, judge = top2_sum>)
    score(#moe.identity) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32>
}

func.func @no_groups(%scores: tensor<?x8xf32> {moe.name = "scores"}, %bias: tensor<8xf32> {moe.name = "bias"})
    -> (tensor<?x3xi32> {moe.name = "ids"}, tensor<?x3xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores bias(%bias : tensor<8xf32>) policy(#moe.top_k<3>)
    score(#moe.identity) normalize(#moe.sum_to_one<epsilon = 1.0e-20 : f32>) scale(2.5) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>
  return %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32>
}

func.func private @logits(%x: tensor<?x24xf32>) -> tensor<?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  return %logits : tensor<?x8xf32>
}

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 3>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 3>)
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
