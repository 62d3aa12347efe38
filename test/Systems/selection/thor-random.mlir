// RUN: %systems %moe_bin %t %s
//
// THOR: one expert drawn uniformly for each token, weight 1, no learned gate. The draw is made from a key and what the
// draw belongs to, here the position of the token; @sentence draws once per sentence.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @expert(#moe.bank_recipe<[#moe.source<"expert", tensor<8x24x24xf32>>]>) : !moe.bank<tensor<8x24x24xf32>>

func.func @thor_random(%x: tensor<?x24xf32> {moe.name = "x"}, %key: tensor<1xi32> {moe.name = "key"},
                       %position: tensor<?xi32> {moe.name = "position"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %nothing_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %nothing = linalg.fill ins(%zero : f32) outs(%nothing_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %routing = moe.select %nothing policy(#moe.random) with(key = %key : tensor<1xi32>, counter = %position : tensor<?xi32>)
    score(#moe.identity) normalize(#moe.one) : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// One draw for all tokens of a sentence, by the number of the sentence.
func.func @sentence(%x: tensor<?x24xf32> {moe.name = "x"}, %key: tensor<1xi32> {moe.name = "key"},
                    %sequence: tensor<?xi32> {moe.name = "sequence"}, %number: tensor<?xi32> {moe.name = "number"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %sentences = tensor.dim %number, %c0 : tensor<?xi32>
  %nothing_empty = tensor.empty(%sentences) : tensor<?x8xf32>
  %nothing = linalg.fill ins(%zero : f32) outs(%nothing_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %drawn = moe.select %nothing policy(#moe.random) with(key = %key : tensor<1xi32>, counter = %number : tensor<?xi32>)
    score(#moe.identity) normalize(#moe.one) scope(sequence)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 1, scope = sequence>
  %routing = moe.spread %drawn over(%sequence : tensor<?xi32>)
    : !moe.routing<? x 8, slots = 1, scope = sequence> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// Routing from a table: the drawn ids given.
func.func @table(%x: tensor<?x24xf32> {moe.name = "x"}, %ids: tensor<?x1xi32> {moe.name = "ids"}, %weights: tensor<?x1xf32> {moe.name = "weights"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 8, slots = 1>
  %y = func.call @experts(%x, %routing) : (tensor<?x24xf32>, !moe.routing<? x 8, slots = 1>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
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
