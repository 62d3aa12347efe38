// RUN: %systems %moe_bin %t %s
//
// Adaptive gating: the best expert where its probability leads by more than a gap, else the two best.
//
// Reading: the paper leaves open how the weights of two experts are normalised; taken: divided by their sum, as the top-2
// gating that it starts from does, so that a single expert weighs 1.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @adaptive_gating(%x: tensor<?x24xf32> {moe.name = "x"}, %gap: tensor<1xf32> {moe.name = "gap"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.gap) with(gap = %gap : tensor<1xf32>) score(#moe.softmax)
    normalize(#moe.sum_to_one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone, with scores and a gap for each token as they are given.
func.func @choice(%scores: tensor<?x8xf32> {moe.name = "scores"}, %gap: tensor<?xf32> {moe.name = "gap"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores policy(#moe.gap) with(gap = %gap : tensor<?xf32>) score(#moe.identity)
    normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
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

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 2>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 2>)
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
