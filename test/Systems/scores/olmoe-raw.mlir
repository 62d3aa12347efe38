// RUN: %systems %moe_bin %t %s
//
// OLMoE: softmax over all experts, the best 8 of them, weights as they are.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<16x24xf32>>) : tensor<16x24xf32>
ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<16x24x24xf32>>]>) : !moe.bank<tensor<16x24x24xf32>>

func.func @olmoe_raw(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x16xf32>
  %routing = moe.select %logits policy(#moe.top_k<8>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 16, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// With the flag on: the order of Mixtral.
func.func @renormalised(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %logits = func.call @logits(%x) : (tensor<?x24xf32>) -> tensor<?x16xf32>
  %routing = moe.select %logits policy(#moe.top_k<8>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 8>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 16, slots = 8>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The choice alone, its logits given: raw, divided by its sum, and as a softmax over the chosen logits.
func.func @raw(%logits: tensor<?x16xf32> {moe.name = "logits"})
    -> (tensor<?x8xi32> {moe.name = "ids"}, tensor<?x8xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<8>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 8>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 16, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %ids, %weights : tensor<?x8xi32>, tensor<?x8xf32>
}

func.func @sum(%logits: tensor<?x16xf32> {moe.name = "logits"})
    -> (tensor<?x8xi32> {moe.name = "ids"}, tensor<?x8xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<8>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 8>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 16, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %ids, %weights : tensor<?x8xi32>, tensor<?x8xf32>
}

func.func @after(%logits: tensor<?x16xf32> {moe.name = "logits"})
    -> (tensor<?x8xi32> {moe.name = "ids"}, tensor<?x8xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<8>) score(#moe.identity) normalize(#moe.softmax_selected)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 8>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 16, slots = 8> -> tensor<?x8xi32>, tensor<?x8xf32>
  return %ids, %weights : tensor<?x8xi32>, tensor<?x8xf32>
}

// One expert, and all of them.
func.func @one(%logits: tensor<?x16xf32> {moe.name = "logits"})
    -> (tensor<?x1xi32> {moe.name = "ids"}, tensor<?x1xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<1>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 1>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 16, slots = 1> -> tensor<?x1xi32>, tensor<?x1xf32>
  return %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32>
}

func.func @dense(%logits: tensor<?x16xf32> {moe.name = "logits"})
    -> (tensor<?x16xi32> {moe.name = "ids"}, tensor<?x16xf32> {moe.name = "weights"}) {
  %routing = moe.select %logits policy(#moe.top_k<16>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x16xf32> -> !moe.routing<? x 16, slots = 16>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 16, slots = 16> -> tensor<?x16xi32>, tensor<?x16xf32>
  return %ids, %weights : tensor<?x16xi32>, tensor<?x16xf32>
}

func.func private @logits(%x: tensor<?x24xf32>) -> tensor<?x16xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<16x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x16xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x16xf32>) -> tensor<?x16xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<16x24xf32>) outs(%logits_zero : tensor<?x16xf32>) -> tensor<?x16xf32>
  return %logits : tensor<?x16xf32>
}

func.func private @experts(%x: tensor<?x24xf32>, %routing: !moe.routing<? x 16, slots = 8>) -> tensor<?x24xf32> {
  %expert = ml_program.global_load_const @expert : !moe.bank<tensor<16x24x24xf32>>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 16, slots = 8>)
         banks(%expert : !moe.bank<tensor<16x24x24xf32>>) combine(#moe.weighted_sum) -> tensor<?x24xf32> {
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
