// RUN: %systems %moe_bin %t %s
//
// AdaMoE: true and null experts share one softmax and one choice; what null experts won is left out.
// Null experts come last: a routing over the true experts alone takes their ids for empty slots, so they cost nothing.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(t, s) -> (t, s)>
#token = affine_map<(t, s) -> (t)>

ml_program.global private @router(#moe.source<"router", tensor<8x24xf32>>) : tensor<8x24xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<5x20x24xf32>>]>) : !moe.bank<tensor<5x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<5x24x20xf32>>]>) : !moe.bank<tensor<5x24x20xf32>>

func.func private @layer(%x: tensor<?x24xf32>, %logits: tensor<?x8xf32>) -> tensor<?x24xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<5x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<5x24x20xf32>>
  %all = moe.select %logits policy(#moe.top_k<3>) score(#moe.softmax) normalize(#moe.keep)
    : tensor<?x8xf32> -> !moe.routing<? x 8, slots = 3>
  %ids, %scores = moe.routing_parts %all : !moe.routing<? x 8, slots = 3> -> tensor<?x3xi32>, tensor<?x3xf32>

  // The weights of true experts sum to one. The division is guarded: where no true expert has a score, weights are 0.
  %sum_empty = tensor.empty(%tokens) : tensor<?xf32>
  %sum_zero = linalg.fill ins(%zero : f32) outs(%sum_empty : tensor<?xf32>) -> tensor<?xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id, #token], iterator_types = ["parallel", "reduction"]}
    ins(%ids, %scores : tensor<?x3xi32>, tensor<?x3xf32>) outs(%sum_zero : tensor<?xf32>) {
  ^bb0(%expert: i32, %score: f32, %before: f32):
    %c5 = arith.constant 5 : i32
    %is_true = arith.cmpi slt, %expert, %c5 : i32
    %more = arith.addf %before, %score : f32
    %after = arith.select %is_true, %more, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %weights_empty = tensor.empty(%tokens) : tensor<?x3xf32>
  %weights = linalg.generic {indexing_maps = [#id, #token, #id], iterator_types = ["parallel", "parallel"]}
    ins(%scores, %sum : tensor<?x3xf32>, tensor<?xf32>) outs(%weights_empty : tensor<?x3xf32>) {
  ^bb0(%score: f32, %total: f32, %unused: f32):
    %nothing = arith.constant 0.0 : f32
    %is_nothing = arith.cmpf oeq, %total, %nothing : f32
    %share = arith.divf %score, %total : f32
    %guarded = arith.select %is_nothing, %nothing, %share : f32
    linalg.yield %guarded : f32
  } -> tensor<?x3xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x3xi32>, tensor<?x3xf32> -> !moe.routing<? x 5, slots = 3>

  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 5, slots = 3>)
         banks(%up, %down : !moe.bank<tensor<5x20x24xf32>>, !moe.bank<tensor<5x24x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %u: tensor<20x24xf32>, %d: tensor<24x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %wide = tensor.empty(%count) : tensor<?x20xf32>
    %wide_zero = linalg.fill ins(%none : f32) outs(%wide : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x24xf32>, tensor<20x24xf32>) outs(%wide_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = arith.maximumf %raised, %wide_zero : tensor<?x20xf32>
    %narrow = tensor.empty(%count) : tensor<?x24xf32>
    %narrow_zero = linalg.fill ins(%none : f32) outs(%narrow : tensor<?x24xf32>) -> tensor<?x24xf32>
    %out = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>) outs(%narrow_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}

func.func @ada_moe_null(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %w = ml_program.global_load_const @router : tensor<8x24xf32>
  %e = tensor.empty(%tokens) : tensor<?x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %w : tensor<?x24xf32>, tensor<8x24xf32>) outs(%z : tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = call @layer(%x, %logits) : (tensor<?x24xf32>, tensor<?x8xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

// The layer on logits that are given.
func.func @given(%x: tensor<?x24xf32> {moe.name = "x"}, %logits: tensor<?x8xf32> {moe.name = "logits"})
    -> (tensor<?x24xf32> {moe.name = "y"}) {
  %y = call @layer(%x, %logits) : (tensor<?x24xf32>, tensor<?x8xf32>) -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
