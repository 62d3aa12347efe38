// RUN: %systems %moe_bin %t %s
//
// Each row is scaled by the weight of its slot before it reaches the expert, and what comes out is added up: the gate
// acts inside a body that is not linear.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

ml_program.global private @router(#moe.source<"router", tensor<7x24xf32>>) : tensor<7x24xf32>
ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<7x37x24xf32>>]>) : !moe.bank<tensor<7x37x24xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<7x37x24xf32>>]>) : !moe.bank<tensor<7x37x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<7x24x37xf32>>]>) : !moe.bank<tensor<7x24x37xf32>>

func.func @weight_on_input(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %w = ml_program.global_load_const @router : tensor<7x24xf32>
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<7x37x24xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<7x37x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<7x24x37xf32>>
  %e = tensor.empty(%tokens) : tensor<?x7xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x7xf32>) -> tensor<?x7xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %w : tensor<?x24xf32>, tensor<7x24xf32>) outs(%z : tensor<?x7xf32>) -> tensor<?x7xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.sigmoid) normalize(#moe.keep)
    : tensor<?x7xf32> -> !moe.routing<? x 7, slots = 2>
  %y = moe.experts rows(%x : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 7, slots = 2>) with_weights
         banks(%gate, %up, %down : !moe.bank<tensor<7x37x24xf32>>, !moe.bank<tensor<7x37x24xf32>>, !moe.bank<tensor<7x24x37xf32>>)
         combine(#moe.sum) -> tensor<?x24xf32> {
  ^bb0(%own: tensor<?x24xf32>, %weights: tensor<?xf32>, %g: tensor<37x24xf32>, %u: tensor<37x24xf32>, %d: tensor<24x37xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x24xf32>
    %narrow = tensor.empty(%count) : tensor<?x24xf32>
    %scaled = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
      ins(%own, %weights : tensor<?x24xf32>, tensor<?xf32>) outs(%narrow : tensor<?x24xf32>) {
    ^bb0(%value: f32, %share: f32, %unused: f32):
      %product = arith.mulf %value, %share : f32
      linalg.yield %product : f32
    } -> tensor<?x24xf32>
    %wide = tensor.empty(%count) : tensor<?x37xf32>
    %wide_zero = linalg.fill ins(%none : f32) outs(%wide : tensor<?x37xf32>) -> tensor<?x37xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%scaled, %g : tensor<?x24xf32>, tensor<37x24xf32>) outs(%wide_zero : tensor<?x37xf32>) -> tensor<?x37xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%scaled, %u : tensor<?x24xf32>, tensor<37x24xf32>) outs(%wide_zero : tensor<?x37xf32>) -> tensor<?x37xf32>
    %positive = arith.maximumf %gated, %wide_zero : tensor<?x37xf32>
    %h = arith.mulf %positive, %raised : tensor<?x37xf32>
    %narrow_zero = linalg.fill ins(%none : f32) outs(%narrow : tensor<?x24xf32>) -> tensor<?x24xf32>
    %out = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x37xf32>, tensor<24x37xf32>) outs(%narrow_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
    moe.yield %out : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
