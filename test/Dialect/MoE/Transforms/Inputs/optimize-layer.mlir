// A layer that every pass of the optimise stage changes: a router, gated experts with biases of their own, a gated
// dense expert beside them, and the residual. Sizes are multiples of nothing.
#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#column = affine_map<(i, j) -> (j)>

ml_program.global private @router(#moe.source<"router", tensor<5x19xf32>>) : tensor<5x19xf32>
ml_program.global private @gate(#moe.bank_recipe<[#moe.source<"gate", tensor<5x11x19xf32>>]>) : !moe.bank<tensor<5x11x19xf32>>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<5x11x19xf32>>]>) : !moe.bank<tensor<5x11x19xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<5x19x11xf32>>]>) : !moe.bank<tensor<5x19x11xf32>>
ml_program.global private @bias(#moe.bank_recipe<[#moe.source<"bias", tensor<5x11xf32>>]>) : !moe.bank<tensor<5x11xf32>>
ml_program.global private @scale(#moe.source<"scale", tensor<19xf32>>) : tensor<19xf32>
ml_program.global private @shared_gate(#moe.source<"shared_gate", tensor<7x19xf32>>) : tensor<7x19xf32>
ml_program.global private @shared_up(#moe.source<"shared_up", tensor<7x19xf32>>) : tensor<7x19xf32>
ml_program.global private @shared_down(#moe.source<"shared_down", tensor<19x7xf32>>) : tensor<19x7xf32>

func.func @experts(%x: tensor<?x19xf32> {moe.name = "x"}, %ids: tensor<?x2xi32> {moe.name = "ids"},
                   %weights: tensor<?x2xf32> {moe.name = "weights"}) -> (tensor<?x19xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %routing = moe.make_routing %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32> -> !moe.routing<? x 5, slots = 2>
  %gate = ml_program.global_load_const @gate : !moe.bank<tensor<5x11x19xf32>>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<5x11x19xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<5x19x11xf32>>
  %bias = ml_program.global_load_const @bias : !moe.bank<tensor<5x11xf32>>
  %scale = ml_program.global_load_const @scale : tensor<19xf32>
  %routed = moe.experts rows(%x : tensor<?x19xf32>) routed_by(%routing : !moe.routing<? x 5, slots = 2>)
         banks(%gate, %up, %down, %bias : !moe.bank<tensor<5x11x19xf32>>, !moe.bank<tensor<5x11x19xf32>>,
               !moe.bank<tensor<5x19x11xf32>>, !moe.bank<tensor<5x11xf32>>)
         shared(%scale : tensor<19xf32>) combine(#moe.weighted_sum) -> tensor<?x19xf32> {
  ^bb0(%rows: tensor<?x19xf32>, %g: tensor<11x19xf32>, %u: tensor<11x19xf32>, %d: tensor<19x11xf32>, %b: tensor<11xf32>, %s: tensor<19xf32>):
    %z = arith.constant 0.0 : f32
    %i0 = arith.constant 0 : index
    %count = tensor.dim %rows, %i0 : tensor<?x19xf32>
    %wide = tensor.empty(%count) : tensor<?x11xf32>
    %wide_zero = linalg.fill ins(%z : f32) outs(%wide : tensor<?x11xf32>) -> tensor<?x11xf32>
    %gated = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %g : tensor<?x19xf32>, tensor<11x19xf32>) outs(%wide_zero : tensor<?x11xf32>) -> tensor<?x11xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%rows, %u : tensor<?x19xf32>, tensor<11x19xf32>) outs(%wide_zero : tensor<?x11xf32>) -> tensor<?x11xf32>
    %relu = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%gated : tensor<?x11xf32>) outs(%wide : tensor<?x11xf32>) {
    ^bb1(%a: f32, %unused: f32):
      %positive = arith.maximumf %a, %z : f32
      linalg.yield %positive : f32
    } -> tensor<?x11xf32>
    %product = arith.mulf %relu, %raised : tensor<?x11xf32>
    %h = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%product, %b : tensor<?x11xf32>, tensor<11xf32>) outs(%wide : tensor<?x11xf32>) {
    ^bb1(%a: f32, %c: f32, %unused: f32):
      %sum = arith.addf %a, %c : f32
      linalg.yield %sum : f32
    } -> tensor<?x11xf32>
    %narrow = tensor.empty(%count) : tensor<?x19xf32>
    %narrow_zero = linalg.fill ins(%z : f32) outs(%narrow : tensor<?x19xf32>) -> tensor<?x19xf32>
    %o = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x11xf32>, tensor<19x11xf32>) outs(%narrow_zero : tensor<?x19xf32>) -> tensor<?x19xf32>
    %scaled = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
      ins(%o, %s : tensor<?x19xf32>, tensor<19xf32>) outs(%narrow : tensor<?x19xf32>) {
    ^bb1(%a: f32, %c: f32, %unused: f32):
      %p = arith.mulf %a, %c : f32
      linalg.yield %p : f32
    } -> tensor<?x19xf32>
    moe.yield %scaled : tensor<?x19xf32>
  }
  %tokens = tensor.dim %x, %c0 : tensor<?x19xf32>
  %sg = ml_program.global_load_const @shared_gate : tensor<7x19xf32>
  %su = ml_program.global_load_const @shared_up : tensor<7x19xf32>
  %sd = ml_program.global_load_const @shared_down : tensor<19x7xf32>
  %e7 = tensor.empty(%tokens) : tensor<?x7xf32>
  %z7 = linalg.fill ins(%zero : f32) outs(%e7 : tensor<?x7xf32>) -> tensor<?x7xf32>
  %g7 = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %sg : tensor<?x19xf32>, tensor<7x19xf32>) outs(%z7 : tensor<?x7xf32>) -> tensor<?x7xf32>
  %u7 = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %su : tensor<?x19xf32>, tensor<7x19xf32>) outs(%z7 : tensor<?x7xf32>) -> tensor<?x7xf32>
  %h7 = linalg.mul ins(%g7, %u7 : tensor<?x7xf32>, tensor<?x7xf32>) outs(%e7 : tensor<?x7xf32>) -> tensor<?x7xf32>
  %e19 = tensor.empty(%tokens) : tensor<?x19xf32>
  %z19 = linalg.fill ins(%zero : f32) outs(%e19 : tensor<?x19xf32>) -> tensor<?x19xf32>
  %shared = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%h7, %sd : tensor<?x7xf32>, tensor<19x7xf32>) outs(%z19 : tensor<?x19xf32>) -> tensor<?x19xf32>
  %both = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%shared, %scale : tensor<?x19xf32>, tensor<19xf32>) outs(%routed : tensor<?x19xf32>) {
  ^bb0(%a: f32, %c: f32, %r: f32):
    %p = arith.mulf %a, %c : f32
    %sum = arith.addf %r, %p : f32
    linalg.yield %sum : f32
  } -> tensor<?x19xf32>
  %y = linalg.add ins(%x, %both : tensor<?x19xf32>, tensor<?x19xf32>) outs(%e19 : tensor<?x19xf32>) -> tensor<?x19xf32>
  return %y : tensor<?x19xf32>
}

func.func @router_choice(%x: tensor<?x19xf32> {moe.name = "x"})
    -> (tensor<?x2xi32> {moe.name = "ids"}, tensor<?x2xf32> {moe.name = "weights"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x19xf32>
  %w = ml_program.global_load_const @router : tensor<5x19xf32>
  %empty = tensor.empty(%tokens) : tensor<?x5xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<?x5xf32>) -> tensor<?x5xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %w : tensor<?x19xf32>, tensor<5x19xf32>) outs(%zeros : tensor<?x5xf32>) -> tensor<?x5xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.identity) normalize(#moe.keep)
    : tensor<?x5xf32> -> !moe.routing<? x 5, slots = 2>
  %ids, %weights = moe.routing_parts %routing : !moe.routing<? x 5, slots = 2> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %weights : tensor<?x2xi32>, tensor<?x2xf32>
}
