// RUN: %systems %moe_bin %t %s
//
// Mixture of Tokens: in a group (the same position of four sequences) each expert gets one mix of the tokens, by a softmax
// over the tokens, and each token gets of each expert what it gave to it. Tokens of a group see each other; groups do not.
// Temperature 1. @alone is the same layer with groups of one token, which is how it runs without a batch.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

ml_program.global private @router(#moe.source<"router", tensor<4x24xf32>>) : tensor<4x24xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<4x20x24xf32>>]>) : !moe.bank<tensor<4x20x24xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<4x24x20xf32>>]>) : !moe.bank<tensor<4x24x20xf32>>

func.func @mixture_of_tokens(%x: tensor<?x4x24xf32> {moe.name = "x"}) -> (tensor<?x4x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %groups = tensor.dim %x, %c0 : tensor<?x4x24xf32>
  %size = arith.constant 4 : index
  %tokens = arith.muli %groups, %size : index
  %four = arith.constant 4 : index
  %mixes = arith.muli %groups, %four : index
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<4x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x24x20xf32>>
  %flat = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x4x24xf32> into tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%flat, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %of_groups = tensor.expand_shape %logits [[0, 1], [2]] output_shape [%groups, 4, 4] : tensor<?x4xf32> into tensor<?x4x4xf32>
  // The softmax runs over the tokens of a group, once per expert: rows are (group, expert).
  %turned_empty = tensor.empty(%groups) : tensor<?x4x4xf32>
  %turned = linalg.transpose ins(%of_groups : tensor<?x4x4xf32>) outs(%turned_empty : tensor<?x4x4xf32>) permutation = [0, 2, 1]
  %of_experts = tensor.collapse_shape %turned [[0, 1], [2]] : tensor<?x4x4xf32> into tensor<?x4xf32>
  %shares_lowest = arith.constant 0xFF800000 : f32
  %shares_vector = tensor.empty(%mixes) : tensor<?xf32>
  %shares_max_init = linalg.fill ins(%shares_lowest : f32) outs(%shares_vector : tensor<?xf32>) -> tensor<?xf32>
  %shares_max = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%of_experts : tensor<?x4xf32>) outs(%shares_max_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.maximumf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %shares_matrix = tensor.empty(%mixes) : tensor<?x4xf32>
  %shares_exp = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%of_experts, %shares_max : tensor<?x4xf32>, tensor<?xf32>) outs(%shares_matrix : tensor<?x4xf32>) {
  ^bb0(%value: f32, %highest: f32, %unused: f32):
    %below = arith.subf %value, %highest : f32
    %exp = math.exp %below : f32
    linalg.yield %exp : f32
  } -> tensor<?x4xf32>
  %shares_sum_init = linalg.fill ins(%zero : f32) outs(%shares_vector : tensor<?xf32>) -> tensor<?xf32>
  %shares_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%shares_exp : tensor<?x4xf32>) outs(%shares_sum_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %shares = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%shares_exp, %shares_sum : tensor<?x4xf32>, tensor<?xf32>) outs(%shares_matrix : tensor<?x4xf32>) {
  ^bb0(%value: f32, %total: f32, %unused: f32):
    %share = arith.divf %value, %total : f32
    linalg.yield %share : f32
  } -> tensor<?x4xf32>
  %share = tensor.expand_shape %shares [[0, 1], [2]] output_shape [%groups, 4, 4] : tensor<?x4xf32> into tensor<?x4x4xf32>
  %mixed_empty = tensor.empty(%groups) : tensor<?x4x24xf32>
  %mixed_zero = linalg.fill ins(%zero : f32) outs(%mixed_empty : tensor<?x4x24xf32>) -> tensor<?x4x24xf32>
  %mixed = linalg.generic {
    indexing_maps = [affine_map<(g, e, d, t) -> (g, e, t)>, affine_map<(g, e, d, t) -> (g, t, d)>, affine_map<(g, e, d, t) -> (g, e, d)>],
    iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  } ins(%share, %x : tensor<?x4x4xf32>, tensor<?x4x24xf32>) outs(%mixed_zero : tensor<?x4x24xf32>) {
  ^bb0(%part: f32, %value: f32, %before: f32):
    %after = math.fma %part, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x4x24xf32>
  %rows = tensor.collapse_shape %mixed [[0, 1], [2]] : tensor<?x4x24xf32> into tensor<?x24xf32>

  // Mixed row (g, e) goes to expert e.
  %ids_empty = tensor.empty(%groups) : tensor<?x4xi32>
  %numbers = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%ids_empty : tensor<?x4xi32>) {
  ^bb0(%unused: i32):
    %number = linalg.index 1 : index
    %expert = arith.index_cast %number : index to i32
    linalg.yield %expert : i32
  } -> tensor<?x4xi32>
  %ids_flat = tensor.collapse_shape %numbers [[0, 1]] : tensor<?x4xi32> into tensor<?xi32>
  // Shown:
  %ids = tensor.expand_shape %ids_flat [[0, 1]] output_shape [%mixes, 1] : tensor<?xi32> into tensor<?x1xi32>
  %no_weights = tensor.empty(%mixes) : tensor<?x1xf32>
  %weights = linalg.fill ins(%zero : f32) outs(%no_weights : tensor<?x1xf32>) -> tensor<?x1xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 4, slots = 1>
  %given = moe.experts rows(%rows : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 1>)
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
  %back = tensor.expand_shape %given [[0, 1], [2]] output_shape [%groups, 4, 24] : tensor<?x24xf32> into tensor<?x4x24xf32>
  %y_empty = tensor.empty(%groups) : tensor<?x4x24xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x4x24xf32>) -> tensor<?x4x24xf32>
  %y = linalg.generic {
    indexing_maps = [affine_map<(g, t, d, e) -> (g, e, t)>, affine_map<(g, t, d, e) -> (g, e, d)>, affine_map<(g, t, d, e) -> (g, t, d)>],
    iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  } ins(%share, %back : tensor<?x4x4xf32>, tensor<?x4x24xf32>) outs(%y_zero : tensor<?x4x24xf32>) {
  ^bb0(%part: f32, %value: f32, %before: f32):
    %after = math.fma %part, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x4x24xf32>
  return %y : tensor<?x4x24xf32>
}

func.func @alone(%x: tensor<?x1x24xf32> {moe.name = "x"}) -> (tensor<?x1x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %groups = tensor.dim %x, %c0 : tensor<?x1x24xf32>
  %size = arith.constant 1 : index
  %tokens = arith.muli %groups, %size : index
  %four = arith.constant 4 : index
  %mixes = arith.muli %groups, %four : index
  %router = ml_program.global_load_const @router : tensor<4x24xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<4x20x24xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<4x24x20xf32>>
  %flat = tensor.collapse_shape %x [[0, 1], [2]] : tensor<?x1x24xf32> into tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x4xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x4xf32>) -> tensor<?x4xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%flat, %router : tensor<?x24xf32>, tensor<4x24xf32>) outs(%logits_zero : tensor<?x4xf32>) -> tensor<?x4xf32>
  %of_groups = tensor.expand_shape %logits [[0, 1], [2]] output_shape [%groups, 1, 4] : tensor<?x4xf32> into tensor<?x1x4xf32>
  // The softmax runs over the tokens of a group, once per expert: rows are (group, expert).
  %turned_empty = tensor.empty(%groups) : tensor<?x4x1xf32>
  %turned = linalg.transpose ins(%of_groups : tensor<?x1x4xf32>) outs(%turned_empty : tensor<?x4x1xf32>) permutation = [0, 2, 1]
  %of_experts = tensor.collapse_shape %turned [[0, 1], [2]] : tensor<?x4x1xf32> into tensor<?x1xf32>
  %shares_lowest = arith.constant 0xFF800000 : f32
  %shares_vector = tensor.empty(%mixes) : tensor<?xf32>
  %shares_max_init = linalg.fill ins(%shares_lowest : f32) outs(%shares_vector : tensor<?xf32>) -> tensor<?xf32>
  %shares_max = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%of_experts : tensor<?x1xf32>) outs(%shares_max_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.maximumf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %shares_matrix = tensor.empty(%mixes) : tensor<?x1xf32>
  %shares_exp = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%of_experts, %shares_max : tensor<?x1xf32>, tensor<?xf32>) outs(%shares_matrix : tensor<?x1xf32>) {
  ^bb0(%value: f32, %highest: f32, %unused: f32):
    %below = arith.subf %value, %highest : f32
    %exp = math.exp %below : f32
    linalg.yield %exp : f32
  } -> tensor<?x1xf32>
  %shares_sum_init = linalg.fill ins(%zero : f32) outs(%shares_vector : tensor<?xf32>) -> tensor<?xf32>
  %shares_sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]}
    ins(%shares_exp : tensor<?x1xf32>) outs(%shares_sum_init : tensor<?xf32>) {
  ^bb0(%value: f32, %before: f32):
    %after = arith.addf %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?xf32>
  %shares = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]}
    ins(%shares_exp, %shares_sum : tensor<?x1xf32>, tensor<?xf32>) outs(%shares_matrix : tensor<?x1xf32>) {
  ^bb0(%value: f32, %total: f32, %unused: f32):
    %share = arith.divf %value, %total : f32
    linalg.yield %share : f32
  } -> tensor<?x1xf32>
  %share = tensor.expand_shape %shares [[0, 1], [2]] output_shape [%groups, 4, 1] : tensor<?x1xf32> into tensor<?x4x1xf32>
  %mixed_empty = tensor.empty(%groups) : tensor<?x4x24xf32>
  %mixed_zero = linalg.fill ins(%zero : f32) outs(%mixed_empty : tensor<?x4x24xf32>) -> tensor<?x4x24xf32>
  %mixed = linalg.generic {
    indexing_maps = [affine_map<(g, e, d, t) -> (g, e, t)>, affine_map<(g, e, d, t) -> (g, t, d)>, affine_map<(g, e, d, t) -> (g, e, d)>],
    iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  } ins(%share, %x : tensor<?x4x1xf32>, tensor<?x1x24xf32>) outs(%mixed_zero : tensor<?x4x24xf32>) {
  ^bb0(%part: f32, %value: f32, %before: f32):
    %after = math.fma %part, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x4x24xf32>
  %rows = tensor.collapse_shape %mixed [[0, 1], [2]] : tensor<?x4x24xf32> into tensor<?x24xf32>

  // Mixed row (g, e) goes to expert e.
  %ids_empty = tensor.empty(%groups) : tensor<?x4xi32>
  %numbers = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%ids_empty : tensor<?x4xi32>) {
  ^bb0(%unused: i32):
    %number = linalg.index 1 : index
    %expert = arith.index_cast %number : index to i32
    linalg.yield %expert : i32
  } -> tensor<?x4xi32>
  %ids_flat = tensor.collapse_shape %numbers [[0, 1]] : tensor<?x4xi32> into tensor<?xi32>
  // Shown:
  %ids = tensor.expand_shape %ids_flat [[0, 1]] output_shape [%mixes, 1] : tensor<?xi32> into tensor<?x1xi32>
  %no_weights = tensor.empty(%mixes) : tensor<?x1xf32>
  %weights = linalg.fill ins(%zero : f32) outs(%no_weights : tensor<?x1xf32>) -> tensor<?x1xf32>
  %routing = moe.make_routing %ids, %weights : tensor<?x1xi32>, tensor<?x1xf32> -> !moe.routing<? x 4, slots = 1>
  %given = moe.experts rows(%rows : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 4, slots = 1>)
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
  %back = tensor.expand_shape %given [[0, 1], [2]] output_shape [%groups, 4, 24] : tensor<?x24xf32> into tensor<?x4x24xf32>
  %y_empty = tensor.empty(%groups) : tensor<?x1x24xf32>
  %y_zero = linalg.fill ins(%zero : f32) outs(%y_empty : tensor<?x1x24xf32>) -> tensor<?x1x24xf32>
  %y = linalg.generic {
    indexing_maps = [affine_map<(g, t, d, e) -> (g, e, t)>, affine_map<(g, t, d, e) -> (g, e, d)>, affine_map<(g, t, d, e) -> (g, t, d)>],
    iterator_types = ["parallel", "parallel", "parallel", "reduction"]
  } ins(%share, %back : tensor<?x4x1xf32>, tensor<?x4x24xf32>) outs(%y_zero : tensor<?x1x24xf32>) {
  ^bb0(%part: f32, %value: f32, %before: f32):
    %after = math.fma %part, %value, %before : f32
    linalg.yield %after : f32
  } -> tensor<?x1x24xf32>
  return %y : tensor<?x1x24xf32>
}
