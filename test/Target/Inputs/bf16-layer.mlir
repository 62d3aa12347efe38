// Gated experts stored in bf16, whose rows are multiples of 16 bytes long; a router and a dense product beside them.
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>

ml_program.global private @router(#moe.source<"router", tensor<4x72xbf16>>) : tensor<4x72xbf16>
ml_program.global private @dense(#moe.source<"dense", tensor<72x72xbf16>>) : tensor<72x72xbf16>
ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<4x40x72xbf16>>]>) : !moe.bank<tensor<4x40x72xbf16>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<4x40x72xbf16>>]>) : !moe.bank<tensor<4x40x72xbf16>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x72x40xbf16>>]>) : !moe.bank<tensor<4x72x40xbf16>>

func.func @layer(%x: tensor<?x72xf32> {moe.name = "x"}) -> (tensor<?x72xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %router = ml_program.global_load_const @router : tensor<4x72xbf16>
  %dense = ml_program.global_load_const @dense : tensor<72x72xbf16>
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<4x40x72xbf16>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<4x40x72xbf16>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x72x40xbf16>>
  %tokens = tensor.dim %x, %c0 : tensor<?x72xf32>
  %scores_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %scores_zero = linalg.fill ins(%zero : f32) outs(%scores_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %scores = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %router : tensor<?x72xf32>, tensor<4x72xbf16>) outs(%scores_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %routing = moe.select %scores policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one) : tensor<?x4xf32> -> !moe.routing<? x 4, slots = 2>
  %routed = moe.experts rows(%x : tensor<?x72xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 2>)
         banks(%gate, %up, %down : !moe.bank<tensor<4x40x72xbf16>>, !moe.bank<tensor<4x40x72xbf16>>,
               !moe.bank<tensor<4x72x40xbf16>>) combine(#moe.weighted_sum) -> tensor<?x72xf32> {
  ^bb0(%rows: tensor<?x72xf32>, %g: tensor<40x72xbf16>, %u: tensor<40x72xbf16>, %d: tensor<72x40xbf16>):
    %z = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %i0 = arith.constant 0 : index
    %count = tensor.dim %rows, %i0 : tensor<?x72xf32>
    %wide = tensor.empty(%count) : tensor<?x40xf32>
    %wide_zero = linalg.fill ins(%z : f32) outs(%wide : tensor<?x40xf32>) -> tensor<?x40xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %g : tensor<?x72xf32>, tensor<40x72xbf16>) outs(%wide_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %u : tensor<?x72xf32>, tensor<40x72xbf16>) outs(%wide_zero : tensor<?x40xf32>) -> tensor<?x40xf32>
    %h = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated, %raised : tensor<?x40xf32>, tensor<?x40xf32>) outs(%wide : tensor<?x40xf32>) {
    ^bb1(%a: f32, %b: f32, %unused: f32):
      %n = arith.negf %a : f32
      %e = math.exp %n : f32
      %s = arith.addf %e, %one : f32
      %q = arith.divf %a, %s : f32
      %p = arith.mulf %q, %b : f32
      linalg.yield %p : f32
    } -> tensor<?x40xf32>
    %narrow = tensor.empty(%count) : tensor<?x72xf32>
    %narrow_zero = linalg.fill ins(%z : f32) outs(%narrow : tensor<?x72xf32>) -> tensor<?x72xf32>
    %o = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x40xf32>, tensor<72x40xbf16>) outs(%narrow_zero : tensor<?x72xf32>) -> tensor<?x72xf32>
    moe.yield %o : tensor<?x72xf32>
  }
  %zeros_empty = tensor.empty(%tokens) : tensor<?x72xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%zeros_empty : tensor<?x72xf32>) -> tensor<?x72xf32>
  %projected = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%routed, %dense : tensor<?x72xf32>, tensor<72x72xbf16>) outs(%zeros : tensor<?x72xf32>) -> tensor<?x72xf32>
  return %projected : tensor<?x72xf32>
}
