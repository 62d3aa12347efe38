// RUN: %systems %moe_bin %t %s
//
// Soft-MoA: four adapters of two slots each. A slot is a mixture of all tokens, a token gets a mixture of all slots: one tensor
// of logits, its softmax over tokens and its softmax over slots.
//
// Reading: tokens enter as they are, without the norm that one variant has.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x6x24xf32>>]>) : !moe.bank<tensor<4x6x24xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<4x24x6xf32>>]>) : !moe.bank<tensor<4x24x6xf32>>

func.func @soft_moa(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<8x24xf32>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x6x24xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<4x24x6xf32>>
  %logits_empty = tensor.empty(%tokens) : tensor<?x8xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x24xf32>, tensor<8x24xf32>) outs(%logits_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
  %of_slots = linalg.softmax dimension(1) ins(%logits : tensor<?x8xf32>) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
  %of_tokens = linalg.softmax dimension(0) ins(%logits : tensor<?x8xf32>) outs(%logits_empty : tensor<?x8xf32>) -> tensor<?x8xf32>

  %slots_empty = tensor.empty() : tensor<8x24xf32>
  %slots_zero = linalg.fill ins(%zero : f32) outs(%slots_empty : tensor<8x24xf32>) -> tensor<8x24xf32>
  %slots = linalg.matmul
    indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
    ins(%of_tokens, %x : tensor<?x8xf32>, tensor<?x24xf32>) outs(%slots_zero : tensor<8x24xf32>) -> tensor<8x24xf32>
  // Shown:
  %ids = arith.constant dense<[[0], [0], [1], [1], [2], [2], [3], [3]]> : tensor<8x1xi32>
  %ones = arith.constant dense<1.0> : tensor<8x1xf32>
  %fixed = moe.make_routing %ids, %ones : tensor<8x1xi32>, tensor<8x1xf32> -> !moe.routing<8 x 4, slots = 1>
  %adapted = moe.experts rows(%slots : tensor<8x24xf32>) routed_by(%fixed : !moe.routing<8 x 4, slots = 1>)
         banks(%down, %up : !moe.bank<tensor<4x6x24xf32>>, !moe.bank<tensor<4x24x6xf32>>) combine(#moe.sum) -> tensor<8x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %d: tensor<6x24xf32>, %u: tensor<24x6xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %low_empty = tensor.empty(%count) : tensor<?x6xf32>
    %low_zero = linalg.fill ins(%none : f32) outs(%low_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
    %low = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %d : tensor<?x24xf32>, tensor<6x24xf32>) outs(%low_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
    %h = arith.maximumf %low, %low_zero : tensor<?x6xf32>
    %high_empty = tensor.empty(%count) : tensor<?x24xf32>
    %high_zero = linalg.fill ins(%none : f32) outs(%high_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
    %high = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %u : tensor<?x6xf32>, tensor<24x6xf32>) outs(%high_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %high : tensor<?x24xf32>
  }
  %y_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y = linalg.matmul ins(%of_slots, %adapted : tensor<?x8xf32>, tensor<8x24xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
