// RUN: %systems %moe_bin %t %s
//
// MixER: a gate on a vector that describes the environment decides, once per environment, which vector field moves its
// states: all experts within 1e-6 of the highest score, with weight one. Three Euler steps; the routing is made once.
// States of an environment share its choice: scores are made per environment and gathered per state.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

ml_program.global private @router(#moe.source<"router", tensor<4x5xf32>>) : tensor<4x5xf32>
ml_program.global private @router_bias(#moe.source<"router_bias", tensor<4xf32>>) : tensor<4xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<4x20x24xf32>>]>) : !moe.bank<tensor<4x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x24x20xf32>>]>) : !moe.bank<tensor<4x24x20xf32>>

func.func @mixer_env(%x: tensor<?x24xf32> {moe.name = "x"}, %environment: tensor<?xi32> {moe.name = "environment"},
                   %context: tensor<3x5xf32> {moe.name = "context"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %router = ml_program.global_load_const @router : tensor<4x5xf32>
  %router_bias = ml_program.global_load_const @router_bias : tensor<4xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<4x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x24x20xf32>>
  %bias_empty = tensor.empty() : tensor<3x4xf32>
  %bias = linalg.broadcast ins(%router_bias : tensor<4xf32>) outs(%bias_empty : tensor<3x4xf32>) dimensions = [0]
  %products_empty = tensor.empty() : tensor<3x4xf32>
  %products_zero = linalg.fill ins(%zero : f32) outs(%products_empty : tensor<3x4xf32>) -> tensor<3x4xf32>
  %products = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%context, %router : tensor<3x5xf32>, tensor<4x5xf32>) outs(%products_zero : tensor<3x4xf32>) -> tensor<3x4xf32>
  %logits = arith.addf %products, %bias : tensor<3x4xf32>
  %scores_lowest = arith.constant 0xFF800000 : f32
  %scores_vector = tensor.empty() : tensor<3xf32>
  %scores_max_init = linalg.fill ins(%scores_lowest : f32) outs(%scores_vector : tensor<3xf32>) -> tensor<3xf32>
  %scores_max = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%logits : tensor<3x4xf32>) outs(%scores_max_init : tensor<3xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.maximumf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<3xf32>
  %scores_matrix = tensor.empty() : tensor<3x4xf32>
  %scores_exp = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%logits, %scores_max : tensor<3x4xf32>, tensor<3xf32>) outs(%scores_matrix : tensor<3x4xf32>) {
  ^bb0(%value: f32, %highest: f32, %unused: f32):
    %below = arith.subf %value, %highest : f32
    %exp = math.exp %below : f32
    linalg.yield %exp : f32
  } -> tensor<3x4xf32>
  %scores_sum_init = linalg.fill ins(%zero : f32) outs(%scores_vector : tensor<3xf32>) -> tensor<3xf32>
  %scores_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%scores_exp : tensor<3x4xf32>) outs(%scores_sum_init : tensor<3xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<3xf32>
  %scores = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%scores_exp, %scores_sum : tensor<3x4xf32>, tensor<3xf32>) outs(%scores_matrix : tensor<3x4xf32>) {
  ^bb0(%value: f32, %total: f32, %unused: f32):
    %share = arith.divf %value, %total : f32
    linalg.yield %share : f32
  } -> tensor<3x4xf32>
  // The distance of each score to the highest of its environment.
  %lowest = arith.constant 0xFF800000 : f32
  %best_empty = tensor.empty() : tensor<3xf32>
  %best_init = linalg.fill ins(%lowest : f32) outs(%best_empty : tensor<3xf32>) -> tensor<3xf32>
  %best = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%scores : tensor<3x4xf32>) outs(%best_init : tensor<3xf32>) {
  ^bb0(%score: f32, %before: f32):
    %after = arith.maximumf %score, %before : f32
    linalg.yield %after : f32
  } -> tensor<3xf32>
  %distance_empty = tensor.empty() : tensor<3x4xf32>
  %distances = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%scores, %best : tensor<3x4xf32>, tensor<3xf32>) outs(%distance_empty : tensor<3x4xf32>) {
  ^bb0(%score: f32, %highest: f32, %unused: f32):
    %distance = arith.subf %score, %highest : f32
    linalg.yield %distance : f32
  } -> tensor<3x4xf32>

  // Per state: the distances of its environment, and an id where one is small.
  %own_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %own_distances = moe.gather ins(%distances : tensor<3x4xf32>) at(%environment : tensor<?xi32>)
    outs(%own_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %ids_empty = tensor.empty(%tokens) : tensor<?x4xi32>
  %ids = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
    ins(%own_distances : tensor<?x4xf32>) outs(%ids_empty : tensor<?x4xi32>) {
  ^bb0(%distance: f32, %unused: i32):
    %near = arith.constant -1.0e-06 : f32
    %none = arith.constant -1 : i32
    %number = linalg.index 1 : index
    %expert = arith.index_cast %number : index to i32
    %is_near = arith.cmpf ogt, %distance, %near : f32
    %id = arith.select %is_near, %expert, %none : i32
    linalg.yield %id : i32
  } -> tensor<?x4xi32>
  // Shown:
  %routing = moe.make_routing %ids, %own_distances : tensor<?x4xi32>, tensor<?x4xf32> -> !moe.routing<? x 4, slots = 4>
  %c1 = arith.constant 1 : index
  %steps = arith.constant 3 : index
  %y = scf.for %step = %c0 to %steps step %c1 iter_args(%state = %x) -> (tensor<?x24xf32>) {
    %change = moe.experts rows(%state : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 4>)
           banks(%up, %down : !moe.bank<tensor<4x20x24xf32>>, !moe.bank<tensor<4x24x20xf32>>)
           combine(#moe.sum) -> tensor<?x24xf32> {
    ^bb0(%own: tensor<?x24xf32>, %u: tensor<20x24xf32>, %d: tensor<24x20xf32>):
      %none = arith.constant 0.0 : f32
      %first = arith.constant 0 : index
      %count = tensor.dim %own, %first : tensor<?x24xf32>
      %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
      %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
      %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
        ins(%own, %u : tensor<?x24xf32>, tensor<20x24xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
      %h = arith.maximumf %raised, %raised_zero : tensor<?x20xf32>
      %y_empty = tensor.empty(%count) : tensor<?x24xf32>
      %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
      %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
        ins(%h, %d : tensor<?x20xf32>, tensor<24x20xf32>) outs(%y_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
      moe.yield %y : tensor<?x24xf32>
    }
    %moved = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]}
      ins(%change : tensor<?x24xf32>) outs(%state : tensor<?x24xf32>) {
    ^bb0(%b: f32, %a: f32):
      %h = arith.constant 0.0625 : f32
      %part = arith.mulf %b, %h : f32
      %sum = arith.addf %a, %part : f32
      linalg.yield %sum : f32
    } -> tensor<?x24xf32>
    scf.yield %moved : tensor<?x24xf32>
  }
  return %y : tensor<?x24xf32>
}
