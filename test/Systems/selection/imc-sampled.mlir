// RUN: %systems %moe_bin %t %s
//
// IMC: one expert is drawn in proportion to the gate's probabilities, and it alone runs, with weight 1. Draws depend on a key
// and on a number that the caller gives each token, on nothing else.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @imc_sampled(%x: tensor<?x24xf32> {moe.name = "x"}, %key: tensor<1xi32> {moe.name = "key"},
                       %number: tensor<?xi32> {moe.name = "number"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x8xf32>
  %routing = moe.select %logits policy(#moe.sample) with(key = %key : tensor<1xi32>, counter = %number : tensor<?xi32>)
    score(#moe.softmax) normalize(#moe.one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The draw alone, from scores as they are given.
func.func @draw(%scores: tensor<?x8xf32> {moe.name = "scores"}, %key: tensor<1xi32> {moe.name = "key"},
                %number: tensor<?xi32> {moe.name = "number"})
    -> (tensor<?x1xi32> {moe.name = "ids"}, tensor<?x1xf32> {moe.name = "weights"}) {
  %routing = moe.select %scores policy(#moe.sample) with(key = %key : tensor<1xi32>, counter = %number : tensor<?xi32>)
    score(#moe.identity) normalize(#moe.keep) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 8, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32>
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

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<8x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 8, slots = 1>)
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
