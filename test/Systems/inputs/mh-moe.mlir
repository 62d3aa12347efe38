// RUN: %systems %moe_bin %t %s
//
// MH-MoE: a token is projected, cut into three sub-tokens of a third of its width, each routed by itself; what comes back is
// joined and projected again. Cutting and joining are reshapes, so routing knows nothing of them.

#rows = affine_map<(m, n, k) -> (m, k)>
#weight = affine_map<(m, n, k) -> (n, k)>
#out = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(i, j) -> (i, j)>
#column = affine_map<(i, j) -> (j)>

ml_program.global private @head(#moe.source<"head", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @head_bias(#moe.source<"head_bias", tensor<24xf32>>) : tensor<24xf32>
ml_program.global private @merge(#moe.source<"merge", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @merge_bias(#moe.source<"merge_bias", tensor<24xf32>>) : tensor<24xf32>
ml_program.global private @router(#moe.source<"router", tensor<6x8xf32>>) : tensor<6x8xf32>
ml_program.global private @up(#moe.bank_recipe<[#moe.source<"up", tensor<6x20x8xf32>>]>) : !moe.bank<tensor<6x20x8xf32>>
ml_program.global private @down(#moe.bank_recipe<[#moe.source<"down", tensor<6x8x20xf32>>]>) : !moe.bank<tensor<6x8x20xf32>>
// For one head: projections that change nothing, experts of whole tokens.
ml_program.global private @identity(#moe.source<"identity", tensor<24x24xf32>>) : tensor<24x24xf32>
ml_program.global private @no_bias(#moe.source<"no_bias", tensor<24xf32>>) : tensor<24xf32>
ml_program.global private @router_whole(#moe.source<"router_whole", tensor<6x24xf32>>) : tensor<6x24xf32>
ml_program.global private @up_whole(#moe.bank_recipe<[#moe.source<"up_whole", tensor<6x20x24xf32>>]>) : !moe.bank<tensor<6x20x24xf32>>
ml_program.global private @down_whole(#moe.bank_recipe<[#moe.source<"down_whole", tensor<6x24x20xf32>>]>) : !moe.bank<tensor<6x24x20xf32>>

func.func @mh_moe(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %head = ml_program.global_load_const @head : tensor<24x24xf32>
  %head_bias = ml_program.global_load_const @head_bias : tensor<24xf32>
  %merge = ml_program.global_load_const @merge : tensor<24x24xf32>
  %merge_bias = ml_program.global_load_const @merge_bias : tensor<24xf32>
  %router = ml_program.global_load_const @router : tensor<6x8xf32>
  %up = ml_program.global_load_const @up : !moe.bank<tensor<6x20x8xf32>>
  %down = ml_program.global_load_const @down : !moe.bank<tensor<6x8x20xf32>>
  %projected_product_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %projected_product_zero = linalg.fill ins(%zero : f32) outs(%projected_product_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %projected_product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %head : tensor<?x24xf32>, tensor<24x24xf32>) outs(%projected_product_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %projected = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%projected_product, %head_bias : tensor<?x24xf32>, tensor<24xf32>) outs(%projected_product_empty : tensor<?x24xf32>) {
  ^bb0(%value: f32, %offset: f32, %unused: f32):
    %sum = arith.addf %value, %offset : f32
    linalg.yield %sum : f32
  } -> tensor<?x24xf32>
  // Shown:
  %cut = tensor.expand_shape %projected [[0], [1, 2]] output_shape [%tokens, 3, 8] : tensor<?x24xf32> into tensor<?x3x8xf32>
  %parts = tensor.collapse_shape %cut [[0, 1], [2]] : tensor<?x3x8xf32> into tensor<?x8xf32>
  %c3 = arith.constant 3 : index
  %count_parts = arith.muli %tokens, %c3 : index
  %logits_empty = tensor.empty(%count_parts) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%parts, %router : tensor<?x8xf32>, tensor<6x8xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 2>
  %given = moe.experts rows(%parts : tensor<?x8xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 2>)
         banks(%up, %down : !moe.bank<tensor<6x20x8xf32>>, !moe.bank<tensor<6x8x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x8xf32> {
  ^bb0(%own: tensor<?x8xf32>, %u: tensor<20x8xf32>, %d: tensor<8x20xf32>):
    %none = arith.constant 0.0 : f32
    %first = arith.constant 0 : index
    %count = tensor.dim %own, %first : tensor<?x8xf32>
    %raised_empty = tensor.empty(%count) : tensor<?x20xf32>
    %raised_zero = linalg.fill ins(%none : f32) outs(%raised_empty : tensor<?x20xf32>) -> tensor<?x20xf32>
    %raised = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%own, %u : tensor<?x8xf32>, tensor<20x8xf32>) outs(%raised_zero : tensor<?x20xf32>) -> tensor<?x20xf32>
    %h = arith.maximumf %raised, %raised_zero : tensor<?x20xf32>
    %y_empty = tensor.empty(%count) : tensor<?x8xf32>
    %y_zero = linalg.fill ins(%none : f32) outs(%y_empty : tensor<?x8xf32>) -> tensor<?x8xf32>
    %y = linalg.matmul indexing_maps = [#rows, #weight, #out]
      ins(%h, %d : tensor<?x20xf32>, tensor<8x20xf32>) outs(%y_zero : tensor<?x8xf32>) -> tensor<?x8xf32>
    moe.yield %y : tensor<?x8xf32>
  }
  %back = tensor.expand_shape %given [[0, 1], [2]] output_shape [%tokens, 3, 8] : tensor<?x8xf32> into tensor<?x3x8xf32>
  %joined = tensor.collapse_shape %back [[0], [1, 2]] : tensor<?x3x8xf32> into tensor<?x24xf32>
  %y_product_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y_product_zero = linalg.fill ins(%zero : f32) outs(%y_product_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y_product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%joined, %merge : tensor<?x24xf32>, tensor<24x24xf32>) outs(%y_product_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%y_product, %merge_bias : tensor<?x24xf32>, tensor<24xf32>) outs(%y_product_empty : tensor<?x24xf32>) {
  ^bb0(%value: f32, %offset: f32, %unused: f32):
    %sum = arith.addf %value, %offset : f32
    linalg.yield %sum : f32
  } -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}

func.func @one_head(%x: tensor<?x24xf32> {moe.name = "x"}) -> (tensor<?x24xf32> {moe.name = "y"}) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %tokens = tensor.dim %x, %c0 : tensor<?x24xf32>
  %identity = ml_program.global_load_const @identity : tensor<24x24xf32>
  %no_bias = ml_program.global_load_const @no_bias : tensor<24xf32>
  %router_whole = ml_program.global_load_const @router_whole : tensor<6x24xf32>
  %up_whole = ml_program.global_load_const @up_whole : !moe.bank<tensor<6x20x24xf32>>
  %down_whole = ml_program.global_load_const @down_whole : !moe.bank<tensor<6x24x20xf32>>
  %projected_product_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %projected_product_zero = linalg.fill ins(%zero : f32) outs(%projected_product_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %projected_product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%x, %identity : tensor<?x24xf32>, tensor<24x24xf32>) outs(%projected_product_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %projected = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%projected_product, %no_bias : tensor<?x24xf32>, tensor<24xf32>) outs(%projected_product_empty : tensor<?x24xf32>) {
  ^bb0(%value: f32, %offset: f32, %unused: f32):
    %sum = arith.addf %value, %offset : f32
    linalg.yield %sum : f32
  } -> tensor<?x24xf32>
  %cut = tensor.expand_shape %projected [[0], [1, 2]] output_shape [%tokens, 1, 24] : tensor<?x24xf32> into tensor<?x1x24xf32>
  %parts = tensor.collapse_shape %cut [[0, 1], [2]] : tensor<?x1x24xf32> into tensor<?x24xf32>
  %logits_empty = tensor.empty(%tokens) : tensor<?x6xf32>
  %logits_zero = linalg.fill ins(%zero : f32) outs(%logits_empty : tensor<?x6xf32>) -> tensor<?x6xf32>
  %logits = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%parts, %router_whole : tensor<?x24xf32>, tensor<6x24xf32>) outs(%logits_zero : tensor<?x6xf32>) -> tensor<?x6xf32>
  %routing = moe.select %logits policy(#moe.top_k<2>) score(#moe.softmax) normalize(#moe.sum_to_one)
    : tensor<?x6xf32> -> !moe.routing<? x 6, slots = 2>
  %given = moe.experts rows(%parts : tensor<?x24xf32>) routed_by(%routing : !moe.routing<? x 6, slots = 2>)
         banks(%up_whole, %down_whole : !moe.bank<tensor<6x20x24xf32>>, !moe.bank<tensor<6x24x20xf32>>)
         combine(#moe.weighted_sum) -> tensor<?x24xf32> {
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
  %y_product_empty = tensor.empty(%tokens) : tensor<?x24xf32>
  %y_product_zero = linalg.fill ins(%zero : f32) outs(%y_product_empty : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y_product = linalg.matmul indexing_maps = [#rows, #weight, #out]
    ins(%given, %identity : tensor<?x24xf32>, tensor<24x24xf32>) outs(%y_product_zero : tensor<?x24xf32>) -> tensor<?x24xf32>
  %y = linalg.generic {indexing_maps = [#id, #column, #id], iterator_types = ["parallel", "parallel"]}
    ins(%y_product, %no_bias : tensor<?x24xf32>, tensor<24xf32>) outs(%y_product_empty : tensor<?x24xf32>) {
  ^bb0(%value: f32, %offset: f32, %unused: f32):
    %sum = arith.addf %value, %offset : f32
    linalg.yield %sum : f32
  } -> tensor<?x24xf32>
  return %y : tensor<?x24xf32>
}
